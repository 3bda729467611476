// tiled products of e4m3: linear/tiled.cuh.

#include "cuda/kernels/linear/tiled.cuh"

namespace rl::cuda {

cudaError_t linear_tiled_fp8(const LinearParams& p, cudaStream_t stream) {
  return p.blocked ? run_tiled<TiledKind::fp8_block>(p, stream) : run_tiled<TiledKind::fp8>(p, stream);
}

}  // namespace rl::cuda
