#pragma once
// Clusters of blocks, one instruction, one function: 9.0 and newer. Sections are those of the PTX ISA, version 9.0.

#include "cuda/ptx/ptx.h"

namespace rl::cuda::ptx {

// 9.7.13.4 barrier.cluster: all threads of a cluster's blocks; what came before arrive is seen after wait.
__device__ inline void cluster_arrive() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
#endif
}
__device__ inline void cluster_wait() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}
// 9.7.9.24 mapa, 9.7.9.11 st.shared::cluster: writes to the same place in the shared memory of the cluster's block
// `rank`.
__device__ inline void store_cluster(std::uint32_t* shared, unsigned rank, std::uint32_t value) {
#if __CUDA_ARCH__ >= 900
  std::uint32_t there;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(smem_address(shared)), "r"(rank));
  asm volatile("st.shared::cluster.u32 [%0], %1;" ::"r"(there), "r"(value) : "memory");
#endif
}

// 9.7.9.24 mapa, 9.7.13.15.13 mbarrier.arrive: at the same barrier of the cluster's block `rank`.
__device__ inline void mbarrier_arrive_at(std::uint64_t* barrier, int rank) {
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "{.reg .b32 remote; mapa.shared::cluster.u32 remote, %0, %1; mbarrier.arrive.shared::cluster.b64 _, [remote];}" ::
          "r"(smem_address(barrier)),
      "r"(rank)
      : "memory");
#endif
}
// 10.1 %cluster_ctarank: which of its cluster's blocks this is.
__device__ inline int rank_in_cluster() {
  std::uint32_t rank = 0;
#if __CUDA_ARCH__ >= 900
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
#endif
  return static_cast<int>(rank);
}

}  // namespace rl::cuda::ptx
