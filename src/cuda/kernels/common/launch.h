#pragma once
// How kernels are started: with an attribute that lets a kernel begin while its predecessor ends (programmatic dependent
// launch; kernels wait themselves, ptx::wait_for_predecessors). In a captured step these become programmatic edges.

#include <cuda_runtime_api.h>

#include <cstdint>
#include <utility>

namespace rl::cuda {

enum class DType : std::uint8_t { f32, bf16, f16, i8 };

template <class... Formal, class... Actual>
cudaError_t launch(void (*kernel)(Formal...), dim3 grid, dim3 block, std::size_t smem_bytes, cudaStream_t stream,
                   Actual&&... args) {
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

}  // namespace rl::cuda
