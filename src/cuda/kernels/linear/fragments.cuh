#pragma once
// How 16 bytes of a weight row become operands of mma.sync.
//
// W is the mma's 16-row A operand, the tokens its 8 columns B. In a sum over k the order of k is free as long as A and
// B agree, so a lane takes 16 consecutive bytes of its row of W, and the same columns of its token's x, as its share of
// several mma: weights go to the tensor cores in 16-byte loads.

#include "cuda/kernels/common/convert.cuh"
#include "cuda/ptx/ptx.h"

namespace rl::cuda {

// What a lane's 16 bytes of W become: registers of A for kSteps mma, two per step and row.
enum class Mode { same16, int8_wo, fp8_wo, int8, fp8, fp8_block };

template <Mode kMode>
struct Shape {
  static constexpr bool kWide = kMode == Mode::same16;
  static constexpr int kLaneCols = kWide ? 8 : 16;  // of W in 16 bytes
  static constexpr int kChunk = 4 * kLaneCols;      // columns of the four lanes of a row
  static constexpr bool kX8 = kMode == Mode::int8 || kMode == Mode::fp8 || kMode == Mode::fp8_block;
  static constexpr int kSteps = kWide || kMode == Mode::int8 ? 2 : 4;
  static constexpr int kXLoads = kWide || kX8 ? 1 : 2;  // of 16 bytes, for as many columns
  // Chunks a warp takes at once. Modes that widen codes have no registers for more.
  static constexpr int kUnroll = kSteps == 2 ? 4 : 2;
  static constexpr int kUnit = kUnroll * kChunk;
};

template <class X, Mode kMode>
__device__ inline void expand_weight(const uint4& w, std::uint32_t (&r)[2 * Shape<kMode>::kSteps]) {
  const std::uint32_t words[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if constexpr (kMode == Mode::same16 || kMode == Mode::int8)
      r[i] = words[i];
    else if constexpr (kMode == Mode::int8_wo)
      Widen<X>::int8(words[i], r[2 * i], r[2 * i + 1]);
    else if constexpr (kMode == Mode::fp8_wo)
      Widen<X>::fp8(words[i], r[2 * i], r[2 * i + 1]);
    else
      fp8_to_half(words[i], r[2 * i], r[2 * i + 1]);
  }
}

template <class X, Mode kMode, class Sum>
__device__ inline void multiply(Sum (&c)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t a2, std::uint32_t a3,
                                std::uint32_t b0, std::uint32_t b1) {
  const std::uint32_t a[4] = {a0, a1, a2, a3};
  if constexpr (kMode == Mode::int8)
    ptx::mma_m16n8k32_s8(c, a, b0, b1);
  else if constexpr (kMode == Mode::fp8 || kMode == Mode::fp8_block)
    ptx::mma_m16n8k16<__half>(c, a, b0, b1);
  else
    ptx::mma_m16n8k16<X>(c, a, b0, b1);
}

}  // namespace rl::cuda
