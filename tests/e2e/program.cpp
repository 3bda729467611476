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

Finished redline(const std::vector<std::string>& arguments) { return redline_killed_after(arguments, -1); }

Finished redline_killed_after(const std::vector<std::string>& arguments, double seconds) {
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
  if (seconds >= 0) {
    const Seconds start = monotonic_now();
    while ((monotonic_now() - start).count < seconds) {
      siginfo_t ended{};
      RL_CHECK(::waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOHANG | WNOWAIT) == 0);
      if (ended.si_pid == child) break;
      sleep_for(Seconds{1e-3});
    }
    ::kill(child, SIGKILL);
  }
  RL_CHECK(::waitpid(child, &status, 0) == child);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), read_text(out), read_text(err)};
}

}  // namespace rl::e2e
