#include "app/cmd_doctor.h"

#include <filesystem>

#include <dlfcn.h>
#include <link.h>

#include "app/machine.h"
#include "app/wiring.h"
#include "base/json_text.h"
#include "base/units.h"
#include "cpu/fast/cpu_device.h"
#include "cpu/fast/memory_limits.h"
#include "model/model.h"
#include "telemetry/host.h"

namespace rl::app {
namespace {

struct Finding {
  std::string part;
  bool present = false;
  std::string found;    // what is there
  std::string enables;  // what it is for, where it is missing
  std::string how;      // how to get it
};

// RTLD_NODELETE: a library that allocates when it is loaded and is unloaded again would leave that memory behind.
bool can_load(const char* library) {
  void* handle = ::dlopen(library, RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE);
  if (handle != nullptr) ::dlclose(handle);
  return handle != nullptr;
}

// Where the loader finds cuBLASLt, by its path and version; empty if it does not.
std::string cublaslt_found() {
  void* const handle = ::dlopen("libcublasLt.so.13", RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE);
  if (handle == nullptr) return "";
  std::string text;
  if (const auto version = reinterpret_cast<std::size_t (*)()>(::dlsym(handle, "cublasLtGetVersion")))
    text = fmt::format("{}.{}.{}, ", version() / 10000, version() / 100 % 100, version() % 100);
  const link_map* file = nullptr;
  if (::dlinfo(handle, RTLD_DI_LINKMAP, &file) == 0 && file != nullptr) text += file->l_name;
  ::dlclose(handle);
  return text;
}

std::vector<Finding> cpu_findings(const record::Environment& environment) {
  const Arch arch = cpu::detect_arch();
  std::vector<Finding> findings;
  findings.push_back({"processor", true,
                      fmt::format("{}, {} cores, last cache {}", environment.cpu, environment.cores,
                                  format_binary_bytes({environment.last_cache_bytes}))});
  const cpu::MemoryLimits memory = cpu::memory_limits();
  findings.push_back({"memory", true,
                      fmt::format("{}, {} available to this program", format_binary_bytes({environment.memory_bytes}),
                                  format_binary_bytes(memory.available))});
  findings.push_back({"AVX2 and FMA", arch.avx2, arch.avx2 ? "yes" : "no",
                      "vector kernels; without it the portable ones run", "another processor"});
  findings.push_back({"AVX-512 BF16", arch.avx512_bf16, arch.avx512_bf16 ? "yes" : "no",
                      "bf16 matrix products, on Zen at twice the f32 rate", "another processor (Zen 4 or newer)"});
  findings.push_back({"AVX-512 VNNI", arch.avx512_vnni, arch.avx512_vnni ? "yes" : "no",
                      "int8 matrix products at four times the f32 rate", "another processor"});
  findings.push_back({"AMX", arch.amx, arch.amx ? "yes" : "no", "bf16 and int8 matrix products many times as fast",
                      "another processor (Sapphire Rapids or newer)"});
  const double free_cores = environment.cores - environment.load_before;
  findings.push_back({"free cores", free_cores > 0.5 * environment.cores,
                      fmt::format("{:.1f} of {} (1-minute load {:.2f})", std::max(0.0, free_cores), environment.cores,
                                  environment.load_before),
                      "steady timings", "end other programs before measuring"});
  const bool scaling = environment.governor.empty() || environment.governor == "performance";
  findings.push_back({"clock governor", scaling,
                      environment.governor.empty() ? "not shown by the kernel" : environment.governor, "steady clocks",
                      "cpupower frequency-set -g performance"});
  return findings;
}

std::vector<Finding> gpu_findings(const record::Environment& environment) {
  const bool driver = !environment.driver.empty() || can_load("libcuda.so.1");
  const std::string with_driver = "needs an NVIDIA driver first";
  std::vector<Finding> findings;
  findings.push_back({"NVIDIA driver", driver,
                      driver ? (environment.driver.empty() ? "yes" : environment.driver) : "no", "GPU experiments",
                      "a machine with an NVIDIA GPU of compute capability 8.0 or newer and its driver"});
  const std::string cuda = cuda_backend();
  const bool on_bus = nvidia_card_on_bus();
  findings.push_back({"NVIDIA GPU", on_bus || cuda.empty(),
                      on_bus         ? "on the PCI bus"
                      : cuda.empty() ? "yes"
                                     : "no",
                      "GPU experiments", "a machine with an NVIDIA GPU of compute capability 8.0 or newer"});
  findings.push_back({"CUDA backend", cuda.empty(), cuda.empty() ? "yes" : cuda,
                      "the engine and all experiments on the GPU",
                      cuda == kNotBuilt ? "build with CUDA: `make cuda`" : with_driver});
  findings.push_back({"NVML", can_load("libnvidia-ml.so.1"), can_load("libnvidia-ml.so.1") ? "yes" : "no",
                      "power, clocks, temperature of the GPU", driver ? "comes with the driver" : with_driver});
  const std::string cublaslt = cublaslt_found();
  findings.push_back({"cuBLASLt", !cublaslt.empty(), cublaslt.empty() ? "no" : cublaslt,
                      "the fastest products of many tokens; without it our own kernels do them",
                      "cuBLAS of CUDA 13 (pip: nvidia-cublas), its folder in LD_LIBRARY_PATH, or libcublasLt.so.13 "
                      "linked into lib/ beside this program"});
  return findings;
}

std::vector<Finding> energy_findings() {
  std::error_code ignored;
  const bool rapl = std::filesystem::exists("/sys/class/powercap/intel-rapl:0/energy_uj", ignored);
  return {{"energy counter (RAPL)", rapl, rapl ? "yes" : "no", "energy of the processor",
           "a machine whose kernel offers it: virtual machines rarely do"}};
}

void print_group(const char* title, const std::vector<Finding>& findings, std::FILE* out) {
  fmt::print(out, "{}\n", title);
  for (const Finding& finding : findings) {
    fmt::print(out, "  {} {:<22} {}\n", finding.present ? "ok     " : "missing", finding.part, finding.found);
    if (finding.present) continue;
    fmt::print(out, "          for:    {}\n          get it: {}\n", finding.enables, finding.how);
  }
}

std::string json_group(const std::vector<Finding>& findings) {
  std::string text;
  for (const Finding& finding : findings)
    text += fmt::format("{}{{\"part\": {}, \"present\": {}, \"found\": {}, \"enables\": {}, \"how\": {}}}",
                        text.empty() ? "" : ", ", json_string(finding.part), finding.present,
                        json_string(finding.found), json_string(finding.enables), json_string(finding.how));
  return "[" + text + "]";
}

}  // namespace

Status cmd_doctor(const DoctorOptions& options, std::FILE* out) {
  const record::Environment environment = telemetry::capture_environment();
  const auto cpu = cpu_findings(environment), gpu = gpu_findings(environment), energy = energy_findings();
  std::string synthetic;
  for (const std::string& name : model::synthetic_names()) synthetic += (synthetic.empty() ? "" : ", ") + name;
  if (options.json) {
    fmt::print(out, "{{\"version\": {}, \"commit\": {}, \"os\": {}, \"cpu\": {}, \"gpu\": {}, \"energy\": {}}}\n",
               json_string(environment.version), json_string(environment.commit), json_string(environment.os),
               json_group(cpu), json_group(gpu), json_group(energy));
    return ok();
  }
  fmt::print(out, "redline {} ({}), {}\n{}\n\n", environment.version, environment.commit, environment.os,
             backends_line());
  print_group("processor", cpu, out);
  print_group("gpu", gpu, out);
  print_group("energy", energy, out);
  fmt::print(out,
             "models\n  ok      demo                   embedded: the default of every command\n"
             "          synthetic:NAME         {}\n",
             synthetic);
  return ok();
}

}  // namespace rl::app
