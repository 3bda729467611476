#pragma once
// Copies of whole boxes of a tensor by the copy engine of a multiprocessor (TMA), one instruction, one function: 9.0
// and newer. Sections are those of the PTX ISA, version 9.0.

#include <cuda.h>

#include "cuda/ptx/ptx.h"

namespace rl::cuda::ptx {

// 9.7.13.5 fence: mbarriers that this thread has initialised are seen by copies that are to arrive at them.
__device__ inline void fence_mbarrier_init() {
#if __CUDA_ARCH__ >= 900
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}
// 9.7.13.5 fence.proxy: what this thread has written to shared memory is seen by copies and products that run beside
// it.
__device__ inline void fence_async() {
#if __CUDA_ARCH__ >= 900
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}
// 9.7.13.15.12 mbarrier.arrive.expect_tx: arrives, and the phase does not end before `bytes` more have been copied.
__device__ inline void mbarrier_expect(std::uint64_t* barrier, int bytes) {
#if __CUDA_ARCH__ >= 900
  asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(smem_address(barrier)), "r"(bytes) : "memory");
#endif
}
// 9.7.9.27.1.2 cp.async.bulk.tensor: the box at these coordinates, innermost first, to shared memory; what lies outside
// of the tensor is zeros. The barrier counts its bytes.
__device__ inline void copy_box(std::uint32_t shared, const CUtensorMap& map, std::uint64_t* barrier, int c0, int c1) {
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(
          shared),
      "l"(&map), "r"(smem_address(barrier)), "r"(c0), "r"(c1)
      : "memory");
#endif
}
__device__ inline void copy_box(std::uint32_t shared, const CUtensorMap& map, std::uint64_t* barrier, int c0, int c1,
                                int c2) {
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];" ::
          "r"(shared),
      "l"(&map), "r"(smem_address(barrier)), "r"(c0), "r"(c1), "r"(c2)
      : "memory");
#endif
}
__device__ inline void copy_box(std::uint32_t shared, const CUtensorMap& map, std::uint64_t* barrier, int c0, int c1,
                                int c2, int c3, int c4) {
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6, %7}], "
      "[%2];" ::"r"(shared),
      "l"(&map), "r"(smem_address(barrier)), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4)
      : "memory");
#endif
}
// The same to both blocks of a pair, at this place of each one's shared memory and counted by its own barrier.
__device__ inline void copy_box_to_pair(std::uint32_t shared, const CUtensorMap& map, std::uint64_t* barrier, int c0,
                                        int c1) {
#if __CUDA_ARCH__ >= 900
  constexpr std::uint16_t kBoth = 3;
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%3, "
      "%4}], [%2], %5;" ::"r"(shared),
      "l"(&map), "r"(smem_address(barrier)), "r"(c0), "r"(c1), "h"(kBoth)
      : "memory");
#endif
}
// 9.7.9.15 prefetch.tensormap
__device__ inline void prefetch_map(const CUtensorMap& map) {
#if __CUDA_ARCH__ >= 900
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
#endif
}

}  // namespace rl::cuda::ptx
