#pragma once
// How many blocks of a kernel a device holds at once: the grid of kernels whose blocks share out their work.

#include "cuda/kernels/common/per_device.h"

namespace rl::cuda {

// Of the current device; asked once per kernel and device. Errors: those of the runtime's queries, and of the attribute
// that dynamic shared memory beyond 48 KiB needs.
template <auto kKernel>
cudaError_t resident_blocks(int threads, std::size_t smem_bytes, int& blocks) {
  static PerDevice<int> known;
  return known.get(blocks, [&](int device, int& all) {
    int multiprocessors = 0, each = 0;
    if (const cudaError_t code =
            cudaFuncSetAttribute(kKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(smem_bytes));
        code != cudaSuccess)
      return code;
    if (const cudaError_t code = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&each, kKernel, threads, smem_bytes);
        code != cudaSuccess)
      return code;
    if (const cudaError_t code = cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device);
        code != cudaSuccess)
      return code;
    all = each * multiprocessors;
    return each == 0 ? cudaErrorInvalidConfiguration : cudaSuccess;
  });
}

}  // namespace rl::cuda
