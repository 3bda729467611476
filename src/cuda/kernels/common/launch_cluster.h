#pragma once
// Kernels whose blocks, `cluster` of them along x, may reach each other's shared memory: 9.0 and newer.

#include "cuda/kernels/common/launch.h"

namespace rl::cuda {

// As launch_allowed(). Errors: those of cudaLaunchKernelEx.
template <class... Formal, class... Actual>
cudaError_t launch_cluster(void (*kernel)(Formal...), dim3 grid, unsigned cluster, dim3 block, std::size_t smem_bytes,
                           cudaStream_t stream, Actual&&... args) {
  cudaLaunchAttribute attributes[2] = {};
  attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[0].val.programmaticStreamSerializationAllowed = 1;
  attributes[1].id = cudaLaunchAttributeClusterDimension;
  attributes[1].val.clusterDim = {cluster, 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = smem_bytes;
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = 2;
  return cudaLaunchKernelEx(&config, kernel, std::forward<Actual>(args)...);
}

}  // namespace rl::cuda
