// tiled products of 16-bit types and int8: linear/tiled.cuh.

#include "cuda/kernels/linear/tiled.cuh"

namespace rl::cuda {

cudaError_t linear_tiled(const LinearParams& p, cudaStream_t stream) {
  switch (p.x_type) {
    case DType::bf16:
      return run_tiled<TiledKind::bf16>(p, stream);
    case DType::f16:
      return run_tiled<TiledKind::f16>(p, stream);
    case DType::i8:
      return run_tiled<TiledKind::int8>(p, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace rl::cuda
