#include "cpu/fast/memory_limits.h"

#include <charconv>
#include <fstream>
#include <limits>
#include <optional>
#include <string>

#include <unistd.h>

namespace rl::cpu {
namespace {

namespace fs = std::filesystem;

// The number after `key` at the beginning of a line ("MemAvailable: 16333228 kB", "inactive_file 4096"), or of the file
// if the key is empty. Nothing for "max" and for a file that is not there.
std::optional<std::int64_t> number_in(const fs::path& path, std::string_view key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key)) continue;
    std::string_view rest = std::string_view(line).substr(key.size());
    if (!key.empty() && (rest.empty() || (rest[0] != ':' && rest[0] != ' '))) continue;
    rest.remove_prefix(std::min(rest.find_first_of("0123456789"), rest.size()));
    std::int64_t value = 0;
    const auto [end, code] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
    if (code != std::errc()) return std::nullopt;
    return std::string_view(end, static_cast<std::size_t>(rest.data() + rest.size() - end)).starts_with(" kB")
               ? value << 10
               : value;
  }
  return std::nullopt;
}

struct Names {
  const char *limit, *use, *cache;  // files, and the key in memory.stat
};
constexpr Names kVersion2{"memory.max", "memory.current", "inactive_file"};
constexpr Names kVersion1{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"};

void apply(MemoryLimits& limits, const fs::path& folder, const Names& names) {
  const auto limit = number_in(folder / names.limit, "");
  if (!limit) return;
  const std::int64_t used = number_in(folder / names.use, "").value_or(0),
                     cache = number_in(folder / "memory.stat", names.cache).value_or(0);
  limits.total = std::min(limits.total, Bytes{*limit});
  limits.available =
      std::min(limits.available, Bytes{std::max<std::int64_t>(*limit - std::max<std::int64_t>(used - cache, 0), 0)});
}

// A group's limit holds for all below it: every folder from the group's up to the mount is looked at. A container sees
// its own group as "/", or by the host's path, which is then not there.
void apply_groups(MemoryLimits& limits, const fs::path& mount, const std::string& group, const Names& names) {
  for (fs::path below = fs::path(group).relative_path(); !below.empty(); below = below.parent_path())
    apply(limits, mount / below, names);
  apply(limits, mount, names);
}

}  // namespace

MemoryLimits memory_limits(const fs::path& root) {
  const Bytes machine{std::int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE)};
  const fs::path meminfo = root / "proc/meminfo";
  MemoryLimits limits{.total = Bytes{number_in(meminfo, "MemTotal").value_or(machine.count)}};
  limits.available = Bytes{number_in(meminfo, "MemAvailable").value_or(limits.total.count)};

  const fs::path mount = root / "sys/fs/cgroup";
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // "0::/a/b", or "9:memory:/a/b"
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == line.npos || second == line.npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string group = line.substr(second + 1);
    if (controllers == ",,") apply_groups(limits, mount, group, kVersion2);
    if (controllers.find(",memory,") != controllers.npos) apply_groups(limits, mount / "memory", group, kVersion1);
  }
  limits.available = std::min(limits.available, limits.total);
  return limits;
}

}  // namespace rl::cpu
