#include <array>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "telemetry/energy.h"
#include "telemetry/powercap.h"

namespace rl::telemetry {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLimit = "constraint_0_power_limit_uw";
constexpr std::size_t kMostZones = 64;
constexpr std::array kEnding = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGABRT};

// What a signal handler needs: files that are open and texts that are made, since it may only call write(). This is the
// one state of the program that a handler shares with it; `armed` guards it.
struct Rescue {
  std::atomic<std::size_t> armed = 0;  // zones to restore; 0: none
  std::array<int, kMostZones> files = {};
  std::array<std::array<char, 24>, kMostZones> texts = {};
  std::array<std::size_t, kMostZones> lengths = {};
  std::array<struct sigaction, kEnding.size()> before = {};  // who handled the signals
};
Rescue rescue;

// Then whoever handled the signal before has it, when this returns.
extern "C" void restore_and_end(int signal) {
  const std::size_t zones = rescue.armed.exchange(0);
  for (std::size_t i = 0; i < zones; ++i) {
    // A file of the kernel cannot be cut and need not be.
    [[maybe_unused]] const int cut = ::ftruncate(rescue.files[i], 0);
    [[maybe_unused]] const ssize_t written = ::pwrite(rescue.files[i], rescue.texts[i].data(), rescue.lengths[i], 0);
  }
  for (std::size_t i = 0; i < kEnding.size(); ++i)
    if (kEnding[i] == signal) ::sigaction(signal, &rescue.before[i], nullptr);
  ::raise(signal);
}

Status write_number(const fs::path& file, std::int64_t number) {
  const std::string text = fmt::format("{}\n", number);
  const int descriptor = ::open(file.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
  const bool written =
      descriptor >= 0 && ::write(descriptor, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int code = errno;
  if (descriptor >= 0) ::close(descriptor);
  if (written) return ok();
  return Error{.kind = ErrorKind::io,
               .what = "a power limit cannot be written",
               .file = file.string(),
               .expected = fmt::format("{} uW", number),
               .found = std::strerror(code),
               .native_code = code};
}

}  // namespace

Result<std::unique_ptr<PowerLimits>> PowerLimits::open(const fs::path& powercap) {
  std::vector<Zone> zones;
  Seconds window;
  for (const fs::path& folder : package_zones(powercap)) {
    const fs::path file = folder / kLimit;
    const auto limit = read_number(file);
    if (!limit || *limit == 0)
      return Error{.kind = ErrorKind::unsupported,
                   .what = "the kernel offers no power limit for this processor",
                   .rule = "power_limit.absent",
                   .file = file.string(),
                   .found = limit ? "0" : limit.error().found,
                   .hint = "AMD's processors have counters but no limit here; use the firmware's settings"};
    if (::access(file.c_str(), W_OK) != 0)
      return Error{.kind = ErrorKind::unsupported,
                   .what = "the power limit may not be written",
                   .rule = "power_limit.permission",
                   .file = file.string(),
                   .found = std::strerror(errno),
                   .hint = "run as root to try other limits; the present one comes back at the end"};
    zones.push_back({.file = file, .original = *limit, .set = *limit});
    if (const auto us = read_number(folder / "constraint_0_time_window_us"))
      window = std::max(window, Seconds{static_cast<double>(*us) * 1e-6});
  }
  if (zones.empty())
    return Error{.kind = ErrorKind::unsupported,
                 .what = "the kernel shows no processor package (RAPL)",
                 .rule = "power_limit.absent",
                 .file = powercap.string(),
                 .hint = "use a machine of its own: virtual machines rarely have it"};
  RL_CHECK(zones.size() <= kMostZones && rescue.armed == 0);
  return std::unique_ptr<PowerLimits>(new PowerLimits(std::move(zones), window));
}

PowerLimits::PowerLimits(std::vector<Zone> zones, Seconds window) : zones_(std::move(zones)), window_(window) {
  for (std::size_t i = 0; i < zones_.size(); ++i) {
    rescue.files[i] = ::open(zones_[i].file.c_str(), O_WRONLY | O_CLOEXEC);
    const auto end = fmt::format_to_n(rescue.texts[i].data(), rescue.texts[i].size(), "{}\n", zones_[i].original);
    rescue.lengths[i] = end.size;
  }
  struct sigaction action = {};
  action.sa_handler = restore_and_end;
  for (std::size_t i = 0; i < kEnding.size(); ++i) {
    ::sigaction(kEnding[i], nullptr, &rescue.before[i]);
    // One that is ignored (nohup) ends nothing.
    if (rescue.before[i].sa_handler != SIG_IGN) ::sigaction(kEnding[i], &action, nullptr);
  }
}

PowerLimits::~PowerLimits() {
  (void)!restore();
  rescue.armed = 0;
  for (std::size_t i = 0; i < kEnding.size(); ++i) ::sigaction(kEnding[i], &rescue.before[i], nullptr);
  for (std::size_t i = 0; i < zones_.size(); ++i) ::close(rescue.files[i]);
}

double PowerLimits::original_watts() const {
  double sum = 0;
  for (const Zone& zone : zones_) sum += static_cast<double>(zone.original) * 1e-6;
  return sum;
}

double PowerLimits::watts() const {
  double sum = 0;
  for (const Zone& zone : zones_) sum += static_cast<double>(zone.set) * 1e-6;
  return sum;
}

Status PowerLimits::set(double share) {
  RL_CHECK(share > 0 && share <= 1);
  changed_ = true;
  rescue.armed = zones_.size();
  for (Zone& zone : zones_) {
    const auto wanted = static_cast<std::int64_t>(std::llround(share * static_cast<double>(zone.original)));
    Status status = write_number(zone.file, wanted);
    if (status) {
      const auto now = read_number(zone.file);
      if (now) zone.set = *now;
      // Kernels round to the hardware's steps, of at most an eighth of a watt.
      if (!now) {
        status = now.error();
      } else if (std::abs(*now - wanted) > 500'000) {
        status = Error{.kind = ErrorKind::device,
                       .what = "the kernel did not take the power limit",
                       .rule = "power_limit.refused",
                       .file = zone.file.string(),
                       .expected = fmt::format("{} uW", wanted),
                       .found = fmt::format("{} uW", *now),
                       .hint = "the firmware may have locked it"};
      }
    }
    if (!status) {
      (void)!restore();
      return status;
    }
  }
  return ok();
}

Status PowerLimits::restore() {
  if (!changed_) return ok();
  Status result = ok();
  for (Zone& zone : zones_) {
    const auto now = read_number(zone.file);
    if (now && *now != zone.set) {
      result = Error{.kind = ErrorKind::device,
                     .what = "somebody else changed a power limit during the measurement; it was left as it is",
                     .rule = "power_limit.changed",
                     .file = zone.file.string(),
                     .expected = fmt::format("{} uW", zone.set),
                     .found = fmt::format("{} uW", *now)};
      continue;
    }
    if (const Status written = write_number(zone.file, zone.original); !written) {
      result = written;
    } else {
      zone.set = zone.original;
    }
  }
  changed_ = false;
  rescue.armed = 0;
  return result;
}

}  // namespace rl::telemetry
