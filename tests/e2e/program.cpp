#include "e2e/program.h"

#include <csignal>
#include <fstream>
#include <sstream>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/result.h"

extern char** environ;

namespace rl::e2e {

namespace fs = std::filesystem;

Scratch::Scratch() {
  std::string path = (fs::temp_directory_path() / "redline_e2e.XXXXXX").string();
  RL_CHECK(::mkdtemp(path.data()) != nullptr);
  path_ = path;
}

Scratch::~Scratch() { fs::remove_all(path_); }

void write_text(const fs::path& file, const std::string& text) { std::ofstream(file, std::ios::binary) << text; }

std::string read_text(const fs::path& file) {
  std::ostringstream text;
  text << std::ifstream(file, std::ios::binary).rdbuf();
  return text.str();
}

namespace {

bool has_line(const std::string& text, const std::string& beginning) {
  for (std::size_t at = text.find(beginning); at != text.npos; at = text.find(beginning, at + 1))
    if (at == 0 || text[at - 1] == '\n') return true;
  return false;
}

bool has_ended(pid_t child) {
  siginfo_t ended{};
  RL_CHECK(::waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOHANG | WNOWAIT) == 0);
  return ended.si_pid == child;
}

// Until the moment has come or the child has ended.
void wait_for(const Moment& moment, pid_t child, const fs::path& err) {
  const Seconds tick{1e-4};
  std::uintmax_t seen = 0;
  while (!moment.line.empty() && !has_ended(child)) {
    std::error_code ignored;
    const std::uintmax_t size = fs::file_size(err, ignored);
    if (size != seen && has_line(read_text(err), moment.line)) break;
    seen = size;
    sleep_for(tick);
  }
  const Seconds start = monotonic_now();
  while ((monotonic_now() - start).count < moment.seconds && !has_ended(child)) sleep_for(tick);
}

Finished run_child(const std::vector<std::string>& arguments, const Moment* killed) {
  const Scratch scratch;
  const std::string program = REDLINE_BINARY_DIR "/redline", out = (scratch / "out").string(),
                    err = (scratch / "err").string();
  std::vector<char*> argv{const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_addopen(&actions, 2, err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  pid_t child = 0;
  const int code = ::posix_spawn(&child, program.c_str(), &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  RL_CHECK_MSG(code == 0, program);

  int status = 0;
  if (killed != nullptr) {
    wait_for(*killed, child, err);
    ::kill(child, SIGKILL);
  }
  RL_CHECK(::waitpid(child, &status, 0) == child);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), read_text(out), read_text(err)};
}

}  // namespace

Finished redline(const std::vector<std::string>& arguments) { return run_child(arguments, nullptr); }

Finished redline_killed_at(const std::vector<std::string>& arguments, const Moment& moment) {
  return run_child(arguments, &moment);
}

}  // namespace rl::e2e
