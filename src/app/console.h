#pragma once
// What the program says beside its answers, and how signals end it.

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
