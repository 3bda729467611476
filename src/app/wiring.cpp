#include "app/wiring.h"

#include <algorithm>
#include <charconv>

#include "app/machine.h"
#include "base/log.h"
#include "base/sha256.h"
#include "cpu/fast/cpu_device.h"
#include "cpu/fast/probes.h"
#include "cpu/ref/ref.h"
#include "telemetry/host.h"
#ifdef REDLINE_CUDA
#include "cuda/catalog.h"
#include "cuda/host/cuda_device.h"
#include "cuda/host/probes.h"
#endif

namespace rl::app {
namespace {

std::string isa_of(const Arch& arch) {
  if (arch.amx) return "amx";
  if (arch.avx512_bf16) return "avx512_bf16";
  if (arch.avx512) return "avx512";
  return arch.avx2 ? "avx2" : "no SIMD extension used";
}

#ifdef REDLINE_CUDA
constexpr bool kCuda = true;

Result<OpenBackend> open_cuda(int ordinal) {
  OpenBackend open;
  RL_ASSIGN(open.device, cuda::make_device(ordinal));
  open.backend = {.name = "cuda", .device = open.device.get(), .catalog = cuda::catalog(), .probes = cuda::probes()};
  return open;
}

std::string cuda_line() {
  const auto cards = cuda::list_cards();
  if (!cards) return cards.error().what;
  std::string text;
  for (const cuda::CardInfo& card : *cards)
    text += fmt::format("{}cuda:{} {}, compute capability {}.{}", text.empty() ? "" : "; ", card.ordinal,
                        card.device.name, card.device.arch.version / 10, card.device.arch.version % 10);
  return text;
}

std::string cuda_reason() {
  const auto cards = cuda::list_cards();
  return cards ? "" : cards.error().what;
}
#else
constexpr bool kCuda = false;

Result<OpenBackend> open_cuda(int) {
  return Error{.kind = ErrorKind::unsupported,
               .what = "this program was built without CUDA",
               .rule = "cuda.not_built",
               .hint = "build it with `make cuda`"};
}
std::string cuda_line() { return kNotBuilt; }
std::string cuda_reason() { return kNotBuilt; }
#endif

// What a measured time holds for.
std::string identity_of(const Device& device) {
  const record::Environment environment = telemetry::capture_environment();
  return fmt::format("{}, driver {}, redline {} {} {}", device.info().name, environment.driver, environment.version,
                     environment.commit, environment.build);
}

Status add_choices(OpenBackend& open, const DeviceOptions& options) {
  if (options.tune_variants != "auto" && options.tune_variants != "on" && options.tune_variants != "off")
    return Error{.kind = ErrorKind::usage,
                 .what = "unknown way to choose variants",
                 .field = "--tune-variants",
                 .expected = "auto, on or off",
                 .found = options.tune_variants};
  const bool gpu = open.device->info().arch.family == Arch::Family::cuda;
  if (options.tune_variants == "off" || (options.tune_variants == "auto" && !gpu)) return ok();
  const std::string identity = identity_of(*open.device);
  std::filesystem::path file = options.variant_cache;
  if (const std::filesystem::path folder = telemetry::cache_folder(); file.empty() && !folder.empty())
    file = folder / "redline" / fmt::format("variants-{}.tsv", Sha256().add(identity).hex().substr(0, 16));
  open.choices = std::make_unique<ops::Choices>(file, identity, options.retune);
  open.backend.choices = open.choices.get();
  return ok();
}

Result<OpenBackend> open_device(const DeviceOptions& options);

}  // namespace

Result<OpenBackend> open_backend(const DeviceOptions& options) {
  RL_ASSIGN(OpenBackend open, open_device(options));
  RL_TRY(add_choices(open, options));
  return open;
}

namespace {

Result<OpenBackend> open_device(const DeviceOptions& options) {
  // "cuda" is the first card, "cuda:1" the second; "auto" is the first card if there is one that can be used.
  const std::string& device = options.device;
  if (device == "cuda" || device.starts_with("cuda:")) {
    int ordinal = 0;
    const char *const first = device.data() + std::min<std::size_t>(5, device.size()), *const end = device.data() +
                                                                                                    device.size();
    if (first != end && std::from_chars(first, end, ordinal).ptr != end) ordinal = -1;
    return open_cuda(ordinal);
  }
  if (device == "auto" && options.threads == 0 && options.isa.empty()) {
    auto open = open_cuda(0);
    if (open) return open;
    if (const std::string line = unused_card_line(open.error(), nvidia_card_on_bus()); !line.empty())
      log::warning("{}", line);
  }
  if (device != "auto" && device != "cpu")
    return Error{.kind = ErrorKind::usage,
                 .what = "no device '" + device + "'",
                 .field = "--device",
                 .expected = "auto, cpu, cuda or cuda:N"};
  if (options.threads < 0 || options.threads > 1024)
    return Error{.kind = ErrorKind::usage,
                 .what = "threads out of range",
                 .field = "--threads",
                 .expected = "1 to 1024, or 0 for one per core",
                 .found = std::to_string(options.threads)};
  if (!options.isa.empty() &&
      std::find(std::begin(cpu::kIsaLevels), std::end(cpu::kIsaLevels), options.isa) == std::end(cpu::kIsaLevels))
    return Error{.kind = ErrorKind::usage,
                 .what = "unknown instruction set",
                 .field = "--isa",
                 .expected = "amx, avx512_bf16, avx512, avx2 or none",
                 .found = options.isa};
  OpenBackend open{.device = cpu::make_device({.threads = options.threads, .isa_limit = options.isa})};
  open.backend = {.name = "cpu", .device = open.device.get(), .catalog = cpu::catalog(), .probes = cpu::probes()};
  return open;
}

}  // namespace

const ops::Oracle& oracle() {
  static const ops::Oracle instance{.check_attention = cpu::ref::check_attention};
  return instance;
}

std::string backends_line() {
  return fmt::format("backends: cpu ({}); cuda: {}", isa_of(cpu::detect_arch()), cuda_line());
}

std::string cuda_backend() { return cuda_reason(); }

std::vector<std::string> backend_names() {
  if (kCuda) return {"cpu", "cuda"};
  return {"cpu"};
}

}  // namespace rl::app
