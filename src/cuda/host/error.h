#pragma once
// Results of CUDA calls as Status. A sticky error (an illegal address, a failed assertion on the device) makes every
// later call of the process fail: the device is lost, and the error says so (rule kDeviceLost of device/device.h).

#include <cuda_runtime_api.h>

#include "base/result.h"

namespace rl::cuda {

bool sticky(cudaError_t code);

// The error of a call that failed: kind out_of_memory for cudaErrorMemoryAllocation, else device; native_code is the
// code. Clears the thread's last error, so that the next launch does not report it again. The first sticky one is kept.
Error error_of(cudaError_t code, const char* call);

// The first sticky error of this process.
std::optional<Error> first_sticky_error();

inline Status check(cudaError_t code, const char* call) {
  if (code == cudaSuccess) [[likely]]
    return ok();
  return error_of(code, call);
}

// The name of a call without its arguments: "cudaMalloc".
#define RL_CUDA(call, ...) RL_TRY(::rl::cuda::check(call(__VA_ARGS__), #call))

}  // namespace rl::cuda
