#pragma once
// How many blocks of a kernel a device holds at once: the grid of kernels whose blocks share out their work.

#include <atomic>

#include <cuda_runtime_api.h>

namespace rl::cuda {

// Of the current device; asked once per kernel and device. Errors: those of the runtime's queries, and of the attribute
// that dynamic shared memory beyond 48 KiB needs.
template <auto kKernel>
cudaError_t resident_blocks(int threads, std::size_t smem_bytes, int& blocks) {
  static std::atomic<int> known[64];
  int device = 0, multiprocessors = 0, each = 0;
  if (const cudaError_t code = cudaGetDevice(&device); code != cudaSuccess) return code;
  const bool kept = device < 64;
  if (kept && (blocks = known[device].load(std::memory_order_relaxed)) > 0) return cudaSuccess;
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
  if (each == 0) return cudaErrorInvalidConfiguration;
  blocks = each * multiprocessors;
  if (kept) known[device].store(blocks, std::memory_order_relaxed);
  return cudaSuccess;
}

}  // namespace rl::cuda
