#pragma once
// What is asked of the runtime once for each device.

#include <map>
#include <mutex>

#include <cuda_runtime_api.h>

namespace rl::cuda {

template <class Facts>
class PerDevice {
 public:
  // Those of the current device: what ask(device, facts) gave the first time, whichever thread came first. Errors: its
  // own, after which it is asked again, and those of cudaGetDevice.
  template <class Ask>
  cudaError_t get(Facts& facts, Ask&& ask) {
    int device = 0;
    if (const cudaError_t code = cudaGetDevice(&device); code != cudaSuccess) return code;
    const std::lock_guard lock(mutex_);
    if (const auto known = known_.find(device); known != known_.end()) {
      facts = known->second;
      return cudaSuccess;
    }
    if (const cudaError_t code = ask(device, facts); code != cudaSuccess) return code;
    known_.emplace(device, facts);
    return cudaSuccess;
  }

 private:
  std::mutex mutex_;
  std::map<int, Facts> known_;
};

}  // namespace rl::cuda
