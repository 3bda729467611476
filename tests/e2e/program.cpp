#include "e2e/program.h"

#include <array>
#include <fstream>
#include <sstream>

#include <fcntl.h>
#include <pty.h>
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

constexpr const char* kProgram = REDLINE_BINARY_DIR "/redline";

std::vector<char*> argv_of(const std::vector<std::string>& arguments) {
  std::vector<char*> argv{const_cast<char*>(kProgram)};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  return argv;
}

int status_of(pid_t child) {
  int status = 0;
  RL_CHECK(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

// Whoever started the tests may ignore some of them, as nohup does.
void take_signals(posix_spawnattr_t& attributes) {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) sigaddset(&signals, signal);
  posix_spawnattr_setsigdefault(&attributes, &signals);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
}

Finished run_child(const std::vector<std::string>& arguments, const Outputs& outputs, const Moment* moment,
                   int signal) {
  const Scratch scratch;
  const std::string out = outputs.out.empty() ? (scratch / "out").string() : outputs.out,
                    err = outputs.err.empty() ? (scratch / "err").string() : outputs.err;
  const std::vector<char*> argv = argv_of(arguments);
  std::array<int, 2> pipe{};
  RL_CHECK(::pipe2(pipe.data(), O_CLOEXEC) == 0);
  ::close(pipe[0]);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  for (const auto& [descriptor, file] : {std::pair(1, out), std::pair(2, err)}) {
    if (file == kClosed)
      posix_spawn_file_actions_addclose(&actions, descriptor);
    else if (file == kBrokenPipe)
      posix_spawn_file_actions_adddup2(&actions, pipe[1], descriptor);
    else
      posix_spawn_file_actions_addopen(&actions, descriptor, file.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  }
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  take_signals(attributes);
  pid_t child = 0;
  const int code = ::posix_spawn(&child, kProgram, &actions, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  ::close(pipe[1]);
  RL_CHECK_MSG(code == 0, kProgram);

  if (moment != nullptr) {
    wait_for(*moment, child, err);
    ::kill(child, signal);
  }
  const int status = status_of(child);
  return {status, outputs.out.empty() ? read_text(out) : "", outputs.err.empty() ? read_text(err) : ""};
}

}  // namespace

Finished redline(const std::vector<std::string>& arguments) { return run_child(arguments, {}, nullptr, 0); }

Finished redline_killed_at(const std::vector<std::string>& arguments, const Moment& moment, int signal) {
  return run_child(arguments, {}, &moment, signal);
}

Finished redline_into(const std::vector<std::string>& arguments, const Outputs& outputs) {
  return run_child(arguments, outputs, nullptr, 0);
}

Finished redline_on_terminal(const std::vector<std::string>& arguments, int columns) {
  const std::vector<char*> argv = argv_of(arguments);
  const winsize size{.ws_row = 24, .ws_col = static_cast<unsigned short>(columns), .ws_xpixel = 0, .ws_ypixel = 0};
  int terminal = -1;
  const pid_t child = ::forkpty(&terminal, nullptr, nullptr, &size);
  RL_CHECK(child >= 0);
  if (child == 0) {
    ::execv(kProgram, argv.data());
    ::_exit(127);
  }
  std::string text;
  std::array<char, 4096> part;
  // The end of a terminal is an error (EIO).
  for (ssize_t got = 0; (got = ::read(terminal, part.data(), part.size())) > 0;)
    text.append(part.data(), static_cast<std::size_t>(got));
  ::close(terminal);
  return {status_of(child), std::move(text), ""};
}

}  // namespace rl::e2e
