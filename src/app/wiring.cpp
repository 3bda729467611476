#include "app/wiring.h"

#include "cpu/fast/cpu_device.h"
#include "cpu/fast/probes.h"
#include "cpu/ref/ref.h"

namespace rl::app {
namespace {

std::string isa_of(const Arch& arch) {
  if (arch.avx512_bf16) return "avx512_bf16";
  if (arch.avx512) return "avx512";
  return arch.avx2 ? "avx2" : "no SIMD extension used";
}

}  // namespace

Result<OpenBackend> open_backend(const DeviceOptions& options) {
  if (options.device != "auto" && options.device != "cpu")
    return Error{.kind = ErrorKind::usage,
                 .what = "no device '" + options.device + "' in this program",
                 .expected = "auto or cpu",
                 .hint = options.device == "cuda" ? "this program was built without CUDA: see redline doctor" : ""};
  if (options.threads < 0 || options.threads > 1024)
    return Error{.kind = ErrorKind::usage,
                 .what = "threads out of range",
                 .field = "--threads",
                 .expected = "1 to 1024, or 0 for one per core",
                 .found = std::to_string(options.threads)};
  for (const std::string_view known : {"", "avx512_bf16", "avx512", "avx2", "none"})
    if (options.isa == known) {
      OpenBackend open{.device = cpu::make_device({.threads = options.threads, .isa_limit = options.isa})};
      open.backend = {.name = "cpu", .device = open.device.get(), .catalog = cpu::catalog(), .probes = cpu::probes()};
      return open;
    }
  return Error{.kind = ErrorKind::usage,
               .what = "unknown instruction set",
               .field = "--isa",
               .expected = "avx512_bf16, avx512, avx2 or none",
               .found = options.isa};
}

const ops::Oracle& oracle() {
  static const ops::Oracle instance{.check_attention = cpu::ref::check_attention};
  return instance;
}

std::string backends_line() {
  return fmt::format("backends: cpu ({}); cuda: not built yet", isa_of(cpu::detect_arch()));
}

std::vector<std::string> backend_names() { return {"cpu"}; }

}  // namespace rl::app
