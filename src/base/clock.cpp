#include "base/clock.h"

#include <chrono>
#include <ctime>
#include <thread>

namespace rl {

Seconds monotonic_now() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return {static_cast<double>(std::chrono::duration_cast<std::chrono::nanoseconds>(since).count()) * 1e-9};
}

Seconds process_cpu_time() {
  std::timespec used{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return {static_cast<double>(used.tv_sec) + 1e-9 * static_cast<double>(used.tv_nsec)};
}

std::string utc_timestamp() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                     parts.tm_hour, parts.tm_min, parts.tm_sec);
}

void sleep_for(Seconds duration) { std::this_thread::sleep_for(std::chrono::duration<double>(duration.count)); }

}  // namespace rl
