#include "telemetry/powercap.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>

namespace rl::telemetry {

namespace fs = std::filesystem;

std::string read_line(const fs::path& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

std::vector<fs::path> package_zones(const fs::path& powercap) {
  std::vector<fs::path> zones;
  std::error_code code;
  for (fs::directory_iterator entry(powercap, code), end; !code && entry != end; entry.increment(code)) {
    const std::string name = entry->path().filename().string();
    // "intel-rapl:0:0" is a part of package 0.
    if (name.starts_with("intel-rapl:") && std::count(name.begin(), name.end(), ':') == 1 &&
        read_line(entry->path() / "name").starts_with("package"))
      zones.push_back(entry->path());
  }
  std::sort(zones.begin(), zones.end());
  return zones;
}

Result<std::int64_t> read_number(const fs::path& file) {
  errno = 0;
  std::ifstream in(file);
  std::string text;
  if (!in || !std::getline(in, text)) {
    const int code = errno;
    return Error{.kind = ErrorKind::unsupported,
                 .what = "a counter of the kernel cannot be read",
                 .file = file.string(),
                 .found = std::strerror(code),
                 .native_code = code};
  }
  std::int64_t number = 0;
  const auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (bad != std::errc() || end != text.data() + text.size() || number < 0)
    return Error{.kind = ErrorKind::io,
                 .what = "a counter of the kernel holds no number",
                 .file = file.string(),
                 .expected = "a whole number",
                 .found = text};
  return number;
}

}  // namespace rl::telemetry
