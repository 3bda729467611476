#pragma once
// W8A8 with e4m3: the exact arithmetic of fp8 products. Activations x are quantised symmetrically, all steps in float,
// over a group of them (a token, or 128 columns of a token):
//
//   absmax = the largest |x|, compared as bits, so that a NaN or an infinity is the largest
//   scale  = absmax / 448; NaN if absmax is not finite
//   q      = e4m3(x / scale), to nearest even, saturating; 0 for all if scale is 0 or NaN
//
// The product of two e4m3 values is exact in float (4 significant bits each). Sums are in float, column by column from
// the first: one accumulator, one rounding each. With q, w the codes' values and one scale per token and per row:
//
//   out = (sum of q * w) * scale * w_scale, then + bias, then + the old out where it accumulates: one rounding each
//
// With scales of 128 x 128 blocks of W and 128 columns of x (DeepSeek-V3, arXiv 2412.19437, section 3.3):
//
//   out = sum over blocks b, from the first, of (sum of q * w in b) * (scale[b] * w_scale[b]), one rounding each
//
// Hardware sums in other orders and widths: a GPU's result is compared within a tolerance. Divide by the scale:
// multiplying by its reciprocal gives another q at ties. A `.cu` file may include this header.

#include <bit>
#include <cstdint>
#include <limits>

#include "num/convert.h"

namespace rl::num {

inline constexpr std::int64_t kFp8Block = 128;

// absmax_bits: magnitude_bits of num/int8.h.
constexpr float fp8_scale(std::uint32_t absmax_bits) {
  if (absmax_bits >= 0x7f80'0000) return std::numeric_limits<float>::quiet_NaN();
  return std::bit_cast<float>(absmax_bits) / 448.0f;
}

constexpr fp8_e4m3 quantize_fp8(float x, float scale) {
  return scale > 0 ? from_float<fp8_e4m3>(x / scale) : fp8_e4m3{};
}

}  // namespace rl::num
