// linear for any types and sizes: tiles of 64 tokens x 64 rows, fp32 products (int32 for int8), no tensor cores. Sums
// run in one fixed order per output, whatever the other tokens are.

#include "cuda/kernels/linear/epilogue.cuh"
#include "cuda/ptx/ptx.h"

namespace rl::cuda {
namespace {

constexpr int kThreads = 256, kTile = 64, kDepth = 16;

template <class Sum, class T>
__device__ Sum number(T x) {
  if constexpr (sizeof(T) == 1 && std::is_same_v<Sum, int>)
    return static_cast<int>(x);
  else
    return to_float(x);
}

template <class X, class W, class Sum, bool kBlocked>
__global__ void __launch_bounds__(kThreads) simple_kernel(LinearParams p) {
  __shared__ Sum x_tile[kDepth][kTile + 4], w_tile[kDepth][kTile + 4];
  const int token0 = static_cast<int>(blockIdx.y) * kTile, row0 = static_cast<int>(blockIdx.x) * kTile;
  const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
  Sum sum[4][4] = {}, total[4][4] = {};
  ptx::wait_for_predecessors();
  ptx::let_successors_begin();
  for (int k0 = 0; k0 < p.cols; k0 += kDepth) {
    for (int i = threadIdx.x; i < kTile * kDepth; i += kThreads) {
      const int k = k0 + i % kDepth, at = i / kDepth;
      const bool in_x = token0 + at < p.tokens && k < p.cols, in_w = row0 + at < p.rows && k < p.cols;
      x_tile[i % kDepth][at] = in_x ? number<Sum>(static_cast<const X*>(p.x)[(token0 + at) * p.x_stride + k]) : Sum{0};
      w_tile[i % kDepth][at] =
          in_w ? number<Sum>(static_cast<const W*>(p.weight)[static_cast<std::int64_t>(row0 + at) * p.cols + k])
               : Sum{0};
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kDepth; ++k)
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) sum[i][j] += x_tile[k][ty + 16 * i] * w_tile[k][tx + 16 * j];
    __syncthreads();
    if constexpr (kBlocked) {
      if ((k0 + kDepth) % kScaleBlock != 0 && k0 + kDepth < p.cols) continue;
      const int block = k0 / kScaleBlock, blocks = blocks_of(p.cols);
      for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j) {
          const int token = min(token0 + ty + 16 * i, p.tokens - 1), row = min(row0 + tx + 16 * j, p.rows - 1);
          const float scale = __fmul_rn(p.x_scale[static_cast<std::int64_t>(token) * blocks + block],
                                        p.w_scale[static_cast<std::int64_t>(row / kScaleBlock) * blocks + block]);
          total[i][j] = __fadd_rn(total[i][j], __fmul_rn(sum[i][j], scale));
          sum[i][j] = 0;
        }
    }
  }
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 4; ++j) {
      const int token = token0 + ty + 16 * i, row = row0 + tx + 16 * j;
      if (token < p.tokens && row < p.rows) finish(p, token, row, kBlocked ? total[i][j] : sum[i][j]);
    }
}

template <class X, class W, class Sum = float, bool kBlocked = false>
cudaError_t run(const LinearParams& p, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>((p.rows + kTile - 1) / kTile),
                  static_cast<unsigned>((p.tokens + kTile - 1) / kTile));
  return launch(simple_kernel<X, W, Sum, kBlocked>, grid, kThreads, 0, stream, p);
}

template <class X>
cudaError_t run_float(const LinearParams& p, cudaStream_t stream) {
  switch (p.weight_type) {
    case DType::f32:
      return run<X, float>(p, stream);
    case DType::bf16:
      return run<X, __nv_bfloat16>(p, stream);
    case DType::f16:
      return run<X, __half>(p, stream);
    case DType::i8:
      return run<X, std::int8_t>(p, stream);
    case DType::f8_e4m3:
      return run<X, __nv_fp8_e4m3>(p, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace

cudaError_t linear_simple(const LinearParams& p, cudaStream_t stream) {
  switch (p.x_type) {
    case DType::f32:
      return run_float<float>(p, stream);
    case DType::bf16:
      return run_float<__nv_bfloat16>(p, stream);
    case DType::f16:
      return run_float<__half>(p, stream);
    case DType::i8:
      return run<std::int8_t, std::int8_t, int>(p, stream);
    case DType::f8_e4m3:
      return p.blocked ? run<__nv_fp8_e4m3, __nv_fp8_e4m3, float, true>(p, stream)
                       : run<__nv_fp8_e4m3, __nv_fp8_e4m3>(p, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace rl::cuda
