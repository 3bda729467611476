#include "base/result.h"

#include <cstdlib>

namespace rl {

std::string_view to_string(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::invalid_input:
      return "invalid input";
    case ErrorKind::unsupported:
      return "unsupported";
    case ErrorKind::out_of_memory:
      return "out of memory";
    case ErrorKind::io:
      return "input/output error";
    case ErrorKind::device:
      return "device error";
    case ErrorKind::timeout:
      return "timeout";
    case ErrorKind::cancelled:
      return "cancelled";
    case ErrorKind::usage:
      return "usage";
    case ErrorKind::internal:
      return "internal error";
  }
  return "unknown error";
}

std::string Error::message() const {
  std::string text = what;
  auto line = [&](std::string_view name, std::string_view value) {
    if (!value.empty()) text += fmt::format("\n  {:<9} {}", name, value);
  };
  std::string where = file;
  if (!field.empty()) where += fmt::format("{}field '{}'", where.empty() ? "" : ", ", field);
  if (offset) where += fmt::format("{}byte {}", where.empty() ? "" : ", ", *offset);
  line("where:", where);
  line("expected:", expected);
  line("found:", found);
  line("rule:", rule);
  line("to do:", hint);
  return text;
}

void check_failed(const char* expression, std::string_view detail, std::source_location at) {
  std::fprintf(stderr, "redline: bug: %s failed at %s:%u in %s%s%.*s\n", expression, at.file_name(),
               static_cast<unsigned>(at.line()), at.function_name(), detail.empty() ? "" : ": ",
               static_cast<int>(detail.size()), detail.data());
  std::abort();
}

}  // namespace rl
