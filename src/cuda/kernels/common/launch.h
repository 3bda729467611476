#pragma once
// How kernels are started: with an attribute that lets a kernel begin while its predecessor ends (programmatic
// dependent launch; kernels wait themselves, ptx::wait_for_predecessors). In a captured step these become programmatic
// edges.

#include <cstdint>
#include <utility>

#include <cuda_runtime_api.h>

#include "tensor/dtype.h"

namespace rl::cuda {

// Of a kernel that was allowed this much dynamic shared memory, where it is more than 48 KiB. The allowance is the
// kernel's, whoever launches it: one whose need varies is allowed the most it can need, once. Errors: those of
// cudaLaunchKernelEx.
template <class... Formal, class... Actual>
cudaError_t launch_allowed(void (*kernel)(Formal...), dim3 grid, dim3 block, std::size_t smem_bytes,
                           cudaStream_t stream, Actual&&... args) {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = smem_bytes;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, kernel, std::forward<Actual>(args)...);
}

// Of a kernel that always needs as much. Errors: also those of the attribute that more than 48 KiB need.
template <class... Formal, class... Actual>
cudaError_t launch(void (*kernel)(Formal...), dim3 grid, dim3 block, std::size_t smem_bytes, cudaStream_t stream,
                   Actual&&... args) {
  constexpr std::size_t kFree = 48 * 1024;
  if (smem_bytes > kFree)
    if (const cudaError_t code =
            cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(smem_bytes));
        code != cudaSuccess)
      return code;
  return launch_allowed(kernel, grid, block, smem_bytes, stream, std::forward<Actual>(args)...);
}

}  // namespace rl::cuda
