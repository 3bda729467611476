#include "cpu/fast/cpu_device.h"

#include <fstream>

#include <sys/syscall.h>
#include <unistd.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

#include "base/clock.h"
#include "cpu/fast/memory_limits.h"

namespace rl::cpu {
namespace {

Error no_capture() {
  return {.kind = ErrorKind::unsupported,
          .what = "the CPU backend runs each launch at once: there is nothing to capture"};
}

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "CPU";
}

// Of the processor's highest level: sysfs has a folder per cache with its level and "32768K". Where a virtual machine
// hides them: what sysconf says, else 32 MiB.
Bytes last_cache_size() {
  int highest = 0;
  Bytes size;
  for (int index = 0;; ++index) {
    const std::string folder = fmt::format("/sys/devices/system/cpu/cpu0/cache/index{}/", index);
    const std::string level = first_line(folder + "level");
    if (level.empty()) break;
    long long count = 0;
    char unit = 0;
    if (std::sscanf(first_line(folder + "size").c_str(), "%lld%c", &count, &unit) < 1) continue;
    const std::int64_t factor = unit == 'K' ? 1 << 10 : unit == 'M' ? 1 << 20 : unit == 'G' ? 1 << 30 : 1;
    const int number = std::atoi(level.c_str());
    if (number >= highest) {
      highest = number;
      size = Bytes{count * factor};
    }
  }
  if (size.count > 0) return size;
  const long l3 = ::sysconf(_SC_LEVEL3_CACHE_SIZE);
  return l3 > 0 ? Bytes{l3} : Bytes{32 << 20};
}

class CpuDevice final : public Device {
 public:
  explicit CpuDevice(const CpuOptions& options)
      : options_(options), pool_(options.threads > 0 ? options.threads : available_processors().cores, options.first) {
    info_ = {.name = fmt::format("{}, {} thread{}", processor_name(), pool_.threads(), pool_.threads() == 1 ? "" : "s"),
             .arch = detect_arch(options.isa_limit),
             .compute_units = pool_.threads(),
             .memory = memory_limits().total,
             .last_cache = last_cache_size()};
  }
  const DeviceInfo& info() const override { return info_; }
  Bytes available_memory() const override { return memory_limits().available; }
  MemoryResource& memory() override { return host_memory(); }
  MemoryResource& pinned_memory() override { return host_memory(); }
  Result<std::unique_ptr<Stream>> make_stream() override {
    return std::unique_ptr<Stream>(std::make_unique<CpuStream>(pool_, info_.arch));
  }
  Result<std::unique_ptr<Event>> make_event() override { return std::unique_ptr<Event>(std::make_unique<CpuEvent>()); }
  Result<std::unique_ptr<Event>> make_timed_event() override { return make_event(); }
  Result<Seconds> elapsed(const Event& first, const Event& last) const override {
    return static_cast<const CpuEvent&>(last).reached() - static_cast<const CpuEvent&>(first).reached();
  }
  bool can_capture() const override { return false; }
  Result<std::unique_ptr<Device>> make_share(int index, int count) override {
    RL_CHECK(count >= 1 && index >= 0 && index < count);
    if (count > pool_.threads())
      return Error{.kind = ErrorKind::usage,
                   .what = fmt::format("{} cannot be split into {} shares", info_.name, count),
                   .expected = fmt::format("at most {}, one thread each", pool_.threads())};
    const int begin = pool_.threads() * index / count, end = pool_.threads() * (index + 1) / count;
    return std::unique_ptr<Device>(std::make_unique<CpuDevice>(CpuOptions{
        .threads = end - begin, .isa_limit = options_.isa_limit, .first = options_.first.value_or(0) + begin}));
  }

 private:
  CpuOptions options_;
  ThreadPool pool_;
  DeviceInfo info_;
};

#if defined(__x86_64__)
// Whether the processor has tiles of bf16 and int8 (CPUID leaf 7, EDX bits 22, 24 and 25), and the kernel lets this
// process use them: it wants to be asked, as they make threads' states larger (Documentation/arch/x86/xstate.rst).
bool amx_allowed() {
  constexpr unsigned kBits = 1U << 22 | 1U << 24 | 1U << 25;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0 || (edx & kBits) != kBits) return false;
  return ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#endif

}  // namespace

Arch detect_arch(std::string_view limit) {
  std::size_t level = std::size(kIsaLevels) - 1;
  if (!limit.empty()) {
    const auto* const found = std::find(std::begin(kIsaLevels), std::end(kIsaLevels), limit);
    RL_CHECK_MSG(found != std::end(kIsaLevels), "an instruction set limit that is not in kIsaLevels");
    level = static_cast<std::size_t>(found - std::begin(kIsaLevels));
  }
  Arch arch{.family = Arch::Family::cpu};
#if defined(__x86_64__)
  __builtin_cpu_init();
  arch.avx2 =
      level >= 1 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  arch.avx512 = level >= 2 && arch.avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  arch.avx512_bf16 = level >= 3 && arch.avx512 && __builtin_cpu_supports("avx512bf16");
  arch.avx512_vnni = level >= 3 && arch.avx512 && __builtin_cpu_supports("avx512vnni");
  arch.amx = level >= 4 && arch.avx512 && amx_allowed();
#endif
  return arch;
}

Status CpuStream::copy_to_device(void* device, const void* host, Bytes bytes) {
  if (bytes.count > 0) std::memmove(device, host, static_cast<std::size_t>(bytes.count));
  return ok();
}

Status CpuStream::copy_to_host(void* host, const void* device, Bytes bytes) {
  return copy_to_device(host, device, bytes);
}

Status CpuStream::record(Event& event) {
  static_cast<CpuEvent&>(event).reached_ = monotonic_now();
  return ok();
}

Status CpuStream::begin_capture() { return no_capture(); }
Result<std::unique_ptr<CapturedStep>> CpuStream::end_capture(const CaptureOptions&) { return no_capture(); }
Status CpuStream::replay(CapturedStep&) { return no_capture(); }

std::unique_ptr<Device> make_device(const CpuOptions& options) { return std::make_unique<CpuDevice>(options); }

}  // namespace rl::cpu
