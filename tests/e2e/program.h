#pragma once
// Runs build/redline as a child process.

#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

namespace rl::e2e {

struct Finished {
  int status = -1;  // exit status; -signal if one ended it
  std::string out, err;
};

// arguments: without the program's name. The child gets no standard input.
Finished redline(const std::vector<std::string>& arguments);

// So many seconds after the start, or after standard error has a line that begins with `line`.
struct Moment {
  double seconds = 0;
  std::string line;  // empty: the start
};

// The same, but sent the signal if it still runs at that moment: status -signal where that ends it.
Finished redline_killed_at(const std::vector<std::string>& arguments, const Moment& moment, int signal = SIGKILL);

// The same, but what it prints goes elsewhere: to a file or one of these; "": as always.
inline constexpr const char *kClosed = "closed", *kBrokenPipe = "a pipe without a reader";
struct Outputs {
  std::string out, err;
};
Finished redline_into(const std::vector<std::string>& arguments, const Outputs& outputs);

// The same on a terminal of so many columns: out is all that the terminal got.
Finished redline_on_terminal(const std::vector<std::string>& arguments, int columns);

// A folder that is removed with its contents.
class Scratch {
 public:
  Scratch();
  ~Scratch();
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

void write_text(const std::filesystem::path& file, const std::string& text);
std::string read_text(const std::filesystem::path& file);

}  // namespace rl::e2e
