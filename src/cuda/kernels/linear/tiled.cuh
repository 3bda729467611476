#pragma once
// linear for many tokens: tiles of 128 tokens x 128 rows, mma.sync, three stages of cp.async, 128 bytes of columns
// each, swizzled as common/smem.cuh says. Shared memory is 96 KiB: it fits the 99 KiB of compute capability 8.9 and
// 12.0. 8 warps of 64 tokens x 32 rows. Flops: 2 tokens rows cols. Bytes per tile and stage: 32 KiB for 2^20 (16-bit)
// or 2^21 (8-bit) multiply-adds.

#include "cuda/kernels/common/smem.cuh"
#include "cuda/kernels/linear/epilogue.cuh"
#include "cuda/ptx/ptx.h"

namespace rl::cuda {

struct TiledConfig {
  static constexpr int kTokens = 128, kRows = 128, kStageBytes = 128, kStages = 3, kThreads = 256;
  static constexpr int kBlockedTokens = 64;  // with blocked scales: two sums of 128 tokens would spill
  static constexpr int kTileBytes = kTokens * kStageBytes;
  static constexpr int kSmemBytes = 2 * kTileBytes * kStages;
  static_assert(kSmemBytes <= 99 * 1024);
};

// kKind: the product's elements. X is only the type of a 16-bit product.
enum class TiledKind { bf16, f16, int8, fp8, fp8_block };

template <TiledKind kKind, class Sum>
__device__ inline void tiled_mma(Sum (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  if constexpr (kKind == TiledKind::bf16)
    ptx::mma_m16n8k16<__nv_bfloat16>(c, a, b0, b1);
  else if constexpr (kKind == TiledKind::f16)
    ptx::mma_m16n8k16<__half>(c, a, b0, b1);
  else if constexpr (kKind == TiledKind::int8)
    ptx::mma_m16n8k32_s8(c, a, b0, b1);
  else
    ptx::mma_m16n8k32_e4m3(c, a, b0, b1);
}

template <TiledKind kKind>
__global__ void __launch_bounds__(TiledConfig::kThreads, kKind == TiledKind::fp8 ? 1 : 2) tiled_kernel(LinearParams p) {
  using C = TiledConfig;
  using Sum = std::conditional_t<kKind == TiledKind::int8, int, float>;
  constexpr bool kBlocked = kKind == TiledKind::fp8_block;
  constexpr int kElement = kKind == TiledKind::bf16 || kKind == TiledKind::f16 ? 2 : 1;
  constexpr int kStageCols = C::kStageBytes / kElement;
  constexpr int kTokens = kBlocked ? C::kBlockedTokens : C::kTokens, kM = kTokens / 32;  // m16 tiles of a warp
  // 9.0 computes mma.sync of e4m3 in steps of fp16: unrolled, their operands would spill. So would what 8.0's compiler
  // reads ahead of 16-bit numbers.
#if __CUDA_ARCH__ == 800
  constexpr int kUnrollK = kElement == 2 ? 2 : 4;
#else
  constexpr int kUnrollK = kKind == TiledKind::fp8 || kBlocked ? 1 : 4;
#endif
  extern __shared__ __align__(128) unsigned char smem[];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int token0 = static_cast<int>(blockIdx.y) * kTokens, row0 = static_cast<int>(blockIdx.x) * C::kRows;
  const int warp_token = (warp / 4) * 16 * kM, warp_row = (warp % 4) * 32;
  const int stages = (p.cols + kStageCols - 1) / kStageCols;

  const auto tile = [&](int stage, int operand) { return smem + (2 * (stage % C::kStages) + operand) * C::kTileBytes; };
  const auto load = [&](int stage, int operand) {
    const char* base = static_cast<const char*>(operand == 0 ? p.x : p.weight);
    const std::int64_t stride = (operand == 0 ? p.x_stride : p.cols) * kElement;
    const int first = operand == 0 ? token0 : row0, end = operand == 0 ? p.tokens : p.rows;
#pragma unroll
    for (int i = 0; i < (operand == 0 ? kTokens : C::kRows) * C::kStageBytes / 16 / C::kThreads; ++i) {
      const int at = i * C::kThreads + static_cast<int>(threadIdx.x), row = at / 8, chunk = at % 8;
      const int byte = stage * C::kStageBytes + chunk * 16;
      const bool valid = first + row < end && byte < p.cols * kElement;
      const char* from = base + (valid ? (first + row) * stride + byte : 0);
      ptx::cp_async_16(tile(stage, operand) + chunk_at<C::kStageBytes>(row, chunk), from, valid);
    }
  };

  // Weights first: they depend on no predecessor, but where one has just widened them.
  if (!p.new_weight) load(0, 1);
  ptx::wait_for_predecessors();
  ptx::let_successors_begin();
  if (p.new_weight) load(0, 1);
  load(0, 0);
  ptx::cp_async_commit();
#pragma unroll
  for (int s = 1; s < C::kStages - 1; ++s) {
    if (s < stages) load(s, 0), load(s, 1);
    ptx::cp_async_commit();
  }

  Sum sum[kM][4][4] = {};
  for (int stage = 0; stage < stages; ++stage) {
    ptx::cp_async_wait<C::kStages - 2>();
    __syncthreads();
    if (stage + C::kStages - 1 < stages) load(stage + C::kStages - 1, 0), load(stage + C::kStages - 1, 1);
    ptx::cp_async_commit();
    const unsigned char *x_tile = tile(stage, 0), *w_tile = tile(stage, 1);
    const auto load_a = [&](std::uint32_t(&a)[4], int m, int k) {
      const int row = warp_token + m * 16 + lane % 16, chunk = 2 * k + lane / 16;
      ptx::ldmatrix_x4(a, x_tile + chunk_at<C::kStageBytes>(row, chunk));
    };
    const auto load_b = [&](std::uint32_t(&b)[4], int n, int k) {  // of 16 rows
      const int row = warp_row + n * 16 + lane % 8 + (lane / 16) * 8, chunk = 2 * k + (lane / 8) % 2;
      ptx::ldmatrix_x4(b, w_tile + chunk_at<C::kStageBytes>(row, chunk));
    };
    if constexpr (!kBlocked) {
#pragma unroll kUnrollK
      for (int k = 0; k < 4; ++k) {  // 32 bytes of columns
        std::uint32_t a[kM][4], b[2][4];
#pragma unroll
        for (int m = 0; m < kM; ++m) load_a(a[m], m, k);
#pragma unroll
        for (int n = 0; n < 2; ++n) load_b(b[n], n, k);
#pragma unroll
        for (int m = 0; m < kM; ++m)
#pragma unroll
          for (int n = 0; n < 4; ++n)
            tiled_mma<kKind>(sum[m][n], a[m], b[n / 2][2 * (n % 2)], b[n / 2][2 * (n % 2) + 1]);
      }
    } else {
      // A stage is a block of scales. 16 tokens at a time, so that one partial sum is live.
      static_assert(kStageCols == kScaleBlock && C::kRows == kScaleBlock);
      const int blocks = blocks_of(p.cols);
      const float w_scale = p.w_scale[static_cast<std::int64_t>(blockIdx.x) * blocks + stage];
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        float part[4][4] = {};
#pragma unroll kUnrollK
        for (int k = 0; k < 4; ++k) {
          std::uint32_t a[4], b[2][4];
          load_a(a, m, k);
          load_b(b[0], 0, k);
          load_b(b[1], 1, k);
#pragma unroll
          for (int n = 0; n < 4; ++n) tiled_mma<kKind>(part[n], a, b[n / 2][2 * (n % 2)], b[n / 2][2 * (n % 2) + 1]);
        }
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int token = min(token0 + warp_token + m * 16 + lane / 4 + 8 * (i / 2), p.tokens - 1);
          const float scale = p.x_scale[static_cast<std::int64_t>(token) * blocks + stage] * w_scale;
#pragma unroll
          for (int n = 0; n < 4; ++n) sum[m][n][i] += part[n][i] * scale;
        }
      }
    }
  }

#pragma unroll
  for (int m = 0; m < kM; ++m)
#pragma unroll
    for (int n = 0; n < 4; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int token = token0 + warp_token + m * 16 + lane / 4 + 8 * (i / 2);
        const int row = row0 + warp_row + n * 8 + 2 * (lane % 4) + i % 2;
        if (token >= p.tokens || row >= p.rows) continue;
        finish(p, token, row, sum[m][n][i]);
      }
}

template <TiledKind kKind>
cudaError_t run_tiled(const LinearParams& p, cudaStream_t stream) {
  using C = TiledConfig;
  constexpr int tokens = kKind == TiledKind::fp8_block ? C::kBlockedTokens : C::kTokens;
  const dim3 grid(static_cast<unsigned>((p.rows + C::kRows - 1) / C::kRows),
                  static_cast<unsigned>((p.tokens + tokens - 1) / tokens));
  return launch(tiled_kernel<kKind>, grid, C::kThreads, C::kSmemBytes, stream, p);
}

}  // namespace rl::cuda
