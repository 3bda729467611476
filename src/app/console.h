#pragma once
// What the program asks of the terminal it runs in, and what it says beside its answers.

#include <cstdio>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace rl::app {

// On standard error. That nobody can be told anything there (a closed pipe, a full disk) ends no work.
template <class... T>
void say(fmt::format_string<T...> format, T&&... values) {
  std::fputs(fmt::format(format, std::forward<T>(values)...).c_str(), stderr);
}

// Columns of the terminal that a descriptor is, 80 if it does not say; 0 if it is none.
int columns_of(int descriptor);

// While it lives, a signal that ends the program (SIGINT, SIGTERM, SIGHUP, unless they are ignored) first prints
// `text`, and a reader of the output that goes away (SIGPIPE) does not end it: work of many minutes goes on. One at a
// time.
class Interruptible {
 public:
  explicit Interruptible(const std::string& text);
  Interruptible(const Interruptible&) = delete;
  ~Interruptible();
};

}  // namespace rl::app
