#include "telemetry/host.h"

#include <charconv>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include <sched.h>

#include "telemetry/build_info.h"

namespace rl::telemetry {
namespace {

namespace fs = std::filesystem;

// Files of /proc and /sys say that their size is 0: they are read to their end.
std::string content_of(const fs::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  return std::move(text).str();
}

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\n\"");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\n\"") - first + 1);
}

std::string line_of(const fs::path& path) { return std::string(trimmed(content_of(path))); }

// The first number of the text, as "32768K" or "16333228 kB" write it, in bytes; 0 if there is none.
std::int64_t bytes_of(std::string_view text) {
  text = trimmed(text);
  std::int64_t number = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (code != std::errc()) return 0;
  const std::string_view unit = trimmed(text.substr(static_cast<std::size_t>(end - text.data())));
  if (unit.starts_with("K") || unit.starts_with("k")) return number << 10;
  if (unit.starts_with("M")) return number << 20;
  if (unit.starts_with("G")) return number << 30;
  return number;
}

// The values of all lines "key<blanks><separator>value".
std::vector<std::string> values_of(const std::string& text, std::string_view key, char separator) {
  std::vector<std::string> values;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t at = line.find(separator);
    if (at != std::string::npos && trimmed(std::string_view(line).substr(0, at)) == key)
      values.emplace_back(trimmed(std::string_view(line).substr(at + 1)));
  }
  return values;
}

std::string first_of(const std::vector<std::string>& values) { return values.empty() ? "" : values.front(); }

// Instruction sets that change which kernels run, widest first.
std::string isa_of(const std::string& cpuinfo) {
  std::string flags = first_of(values_of(cpuinfo, "flags", ':'));
  if (flags.empty()) flags = first_of(values_of(cpuinfo, "Features", ':'));  // Arm
  std::istringstream words(flags);
  std::set<std::string> known;
  for (std::string word; words >> word;) known.insert(word);
  constexpr std::pair<const char*, const char*> kNames[] = {{"amx_bf16", "amx_bf16"},
                                                            {"amx_int8", "amx_int8"},
                                                            {"avx512_bf16", "avx512_bf16"},
                                                            {"avx512_vnni", "avx512_vnni"},
                                                            {"avx512f", "avx512"},
                                                            {"avx_vnni", "avx_vnni"},
                                                            {"avx2", "avx2"},
                                                            {"sve2", "sve2"},
                                                            {"sve", "sve"},
                                                            {"bf16", "bf16"},
                                                            {"asimd", "neon"}};
  std::string isa;
  for (const auto& [flag, name] : kNames)
    if (known.contains(flag)) isa += fmt::format("{}{}", isa.empty() ? "" : " ", name);
  return isa;
}

std::optional<double> clock_of(const std::string& cpuinfo) {
  double highest = 0;
  for (const std::string& mhz : values_of(cpuinfo, "cpu MHz", ':'))
    highest = std::max(highest, std::strtod(mhz.c_str(), nullptr));
  return highest > 0 ? std::optional(highest * 1e6) : std::nullopt;
}

// All caches of the highest level that these processors reach: a chip with several of them has their sum to hold data.
std::int64_t last_cache_of(const fs::path& root, const std::vector<int>& cpus) {
  int highest = 0;
  std::map<std::string, std::int64_t> caches;  // by the processors that share one
  for (const int cpu : cpus)
    for (int index = 0;; ++index) {
      const fs::path folder = root / fmt::format("sys/devices/system/cpu/cpu{}/cache/index{}", cpu, index);
      const int level = std::atoi(line_of(folder / "level").c_str());
      if (level == 0) break;
      if (level < highest || line_of(folder / "type") == "Instruction") continue;
      if (level > highest) caches.clear();
      highest = level;
      caches[line_of(folder / "shared_cpu_list")] = bytes_of(line_of(folder / "size"));
    }
  std::int64_t sum = 0;
  for (const auto& [sharers, size] : caches) sum += size;
  return sum;
}

// The version among the words of /proc/driver/nvidia/version: "NVRM version: NVIDIA UNIX x86_64 Kernel Module
// 580.65.06  Sun Jul 27 ...".
std::string driver_of(const fs::path& root) {
  const std::string text = content_of(root / "proc/driver/nvidia/version");
  std::istringstream words(text.substr(0, text.find('\n')));
  for (std::string word; words >> word;) {
    const bool digits = word.find_first_not_of("0123456789.") == std::string::npos;
    if (digits && word.find('.') != std::string::npos) return word;
  }
  return "";
}

// "NVIDIA H100 80GB HBM3", "2x NVIDIA H100 80GB HBM3", or unlike ones joined by commas.
std::string gpus_of(const fs::path& root) {
  std::map<std::string, int> models;
  std::error_code ignored;
  for (const auto& gpu : fs::directory_iterator(root / "proc/driver/nvidia/gpus", ignored))
    if (const std::string model = first_of(values_of(content_of(gpu.path() / "information"), "Model", ':'));
        !model.empty())
      ++models[model];
  std::string text;
  for (const auto& [model, count] : models)
    text += fmt::format("{}{}{}", text.empty() ? "" : ", ", count > 1 ? fmt::format("{}x ", count) : "", model);
  return text;
}

double load_of(const fs::path& root) { return std::strtod(content_of(root / "proc/loadavg").c_str(), nullptr); }

}  // namespace

record::Environment read_environment(const fs::path& root, const std::vector<int>& cpus) {
  const std::string cpuinfo = content_of(root / "proc/cpuinfo");
  record::Environment environment;
  environment.os = first_of(values_of(content_of(root / "etc/os-release"), "PRETTY_NAME", '='));
  environment.kernel = line_of(root / "proc/sys/kernel/osrelease");
  environment.cpu = first_of(values_of(cpuinfo, "model name", ':'));
  environment.cores = static_cast<int>(cpus.size());
  environment.memory_bytes = bytes_of(first_of(values_of(content_of(root / "proc/meminfo"), "MemTotal", ':')));
  environment.last_cache_bytes = last_cache_of(root, cpus);
  environment.isa = isa_of(cpuinfo);
  if (!cpus.empty())
    environment.governor =
        line_of(root / fmt::format("sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor", cpus.front()));
  environment.cpu_hz = clock_of(cpuinfo);
  environment.load_before = load_of(root);
  environment.gpu = gpus_of(root);
  environment.driver = driver_of(root);
  const BuildInfo build = build_info();
  environment.version = build.version;
  environment.commit = build.commit;
  environment.build = build.build;
  return environment;
}

record::Environment capture_environment() { return read_environment("/", allowed_cpus()); }

// XDG Base Directory Specification, version 0.8: paths that are not absolute count for nothing.
fs::path cache_folder() {
  const auto absolute = [](const char* name) {
    const char* const value = std::getenv(name);
    const fs::path path = value != nullptr ? value : "";
    return path.is_absolute() ? path : fs::path();
  };
  if (fs::path folder = absolute("XDG_CACHE_HOME"); !folder.empty()) return folder;
  const fs::path home = absolute("HOME");
  return home.empty() ? home : home / ".cache";
}

std::vector<int> allowed_cpus() {
  // A machine can have more processors than a cpu_set_t holds: the call says so, and is repeated with more room.
  for (int room = CPU_SETSIZE; room <= 1 << 20; room *= 2) {
    std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)> set(CPU_ALLOC(room), [](cpu_set_t* s) { CPU_FREE(s); });
    const std::size_t size = CPU_ALLOC_SIZE(room);
    CPU_ZERO_S(size, set.get());
    if (::sched_getaffinity(0, size, set.get()) != 0) {
      if (errno == EINVAL) continue;
      break;
    }
    std::vector<int> cpus;
    for (int cpu = 0; cpu < room; ++cpu)
      if (CPU_ISSET_S(cpu, size, set.get())) cpus.push_back(cpu);
    return cpus;
  }
  return {};
}

double load_average() { return load_of("/"); }

}  // namespace rl::telemetry
