#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

namespace rl::log {
namespace {

spdlog::level::level_enum native(Level level) {
  switch (level) {
    case Level::debug:
      return spdlog::level::debug;
    case Level::info:
      return spdlog::level::info;
    case Level::warning:
      return spdlog::level::warn;
    case Level::error:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> instance = [] {
    auto made = std::make_shared<spdlog::logger>("redline", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
    made->set_pattern("redline: %^%l%$: %v");
    made->set_level(spdlog::level::info);
    return made;
  }();
  return *instance;
}

}  // namespace

void set_level(Level level) { logger().set_level(native(level)); }

void vlog(Level level, fmt::string_view format, fmt::format_args args) {
  if (!logger().should_log(native(level))) return;
  const std::string text = fmt::vformat(format, args);
  logger().log(native(level), spdlog::string_view_t(text.data(), text.size()));
}

}  // namespace rl::log
