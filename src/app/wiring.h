#pragma once
// Which backends this program has. The only place that names them; everything else is given an ops::Backend.

#include <memory>
#include <string>
#include <vector>

#include "device/device.h"
#include "ops/catalog.h"
#include "ops/oracle.h"

namespace rl::app {

struct DeviceOptions {
  std::string device = "auto";  // "auto" (the best there is), "cpu", "cuda" or "cuda:N"
  int threads = 0;              // of the CPU; 0: one per core
  std::string isa;              // highest instruction set to use; empty: all
  // Whether variants of products are chosen by their time: "auto" (on a GPU), "on" or "off".
  std::string tune_variants = "auto";
  bool retune = false;        // measures again what an earlier run has kept
  std::string variant_cache;  // the file it is kept in; empty: one in the user's cache folder
};

// A backend with the device it owns.
struct OpenBackend {
  std::unique_ptr<Device> device;
  std::unique_ptr<ops::Choices> choices;  // null: the order of the lists decides
  ops::Backend backend;
};

// Errors: usage for an unknown device, instruction set or way to choose, or more threads than a thousand.
Result<OpenBackend> open_backend(const DeviceOptions& options);

const ops::Oracle& oracle();

// One line: "backends: cpu (avx512_bf16); cuda: cuda:0 NVIDIA H100, compute capability 9.0".
std::string backends_line();
// Empty if the CUDA backend is in this program and there is a card for it, else what is missing.
std::string cuda_backend();
inline constexpr const char* kNotBuilt = "not built in";
std::vector<std::string> backend_names();

}  // namespace rl::app
