#pragma once
// Log lines go to standard error, so that standard output holds a command's answer and nothing else.

#include <string_view>
#include <utility>

#include <fmt/core.h>

namespace rl::log {

enum class Level { debug, info, warning, error };

void set_level(Level level);
void vlog(Level level, fmt::string_view format, fmt::format_args args);

template <class... A>
void debug(fmt::format_string<A...> format, A&&... args) {
  vlog(Level::debug, format, fmt::make_format_args(args...));
}
template <class... A>
void info(fmt::format_string<A...> format, A&&... args) {
  vlog(Level::info, format, fmt::make_format_args(args...));
}
template <class... A>
void warning(fmt::format_string<A...> format, A&&... args) {
  vlog(Level::warning, format, fmt::make_format_args(args...));
}
template <class... A>
void error(fmt::format_string<A...> format, A&&... args) {
  vlog(Level::error, format, fmt::make_format_args(args...));
}

}  // namespace rl::log
