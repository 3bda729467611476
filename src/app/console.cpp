#include "app/console.h"

#include <array>
#include <csignal>

#include <sys/ioctl.h>
#include <unistd.h>

namespace rl::app {
namespace {

constexpr std::array kEnding = {SIGINT, SIGTERM, SIGHUP};
std::array<struct sigaction, kEnding.size()> before;
struct sigaction before_pipe;
std::string farewell;  // made before a signal can come: a handler may only write

extern "C" void say_and_end(int signal) {
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, farewell.data(), farewell.size());
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}

}  // namespace

int columns_of(int descriptor) {
  winsize size{};
  if (::isatty(descriptor) != 1) return 0;
  return ::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

Interruptible::Interruptible(const std::string& text) {
  farewell = text;
  struct sigaction action = {};
  action.sa_handler = say_and_end;
  for (std::size_t i = 0; i < kEnding.size(); ++i) {
    ::sigaction(kEnding[i], nullptr, &before[i]);
    if (before[i].sa_handler == SIG_DFL) ::sigaction(kEnding[i], &action, nullptr);
  }
  action.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &action, &before_pipe);
}

Interruptible::~Interruptible() {
  for (std::size_t i = 0; i < kEnding.size(); ++i) ::sigaction(kEnding[i], &before[i], nullptr);
  ::sigaction(SIGPIPE, &before_pipe, nullptr);
}

}  // namespace rl::app
