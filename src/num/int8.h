#pragma once
// W8A8: the exact arithmetic of int8 products, so that every backend can agree to the bit. A token's activations x are
// quantised symmetrically, all steps in float:
//
//   absmax = the largest |x|, compared as bits, so that a NaN or an infinity is the largest
//   scale  = absmax / 127; NaN if absmax is not finite
//   q      = x / scale rounded to nearest, ties to even, clamped to [-127, 127]; 0 for all if scale is 0 or NaN
//
// and a product with a row of weights w (int8, one scale per row) is
//
//   acc = sum of q * w              int32; |acc| <= 127 * 127 * cols, exact up to 133,144 cols
//   out = (float(acc) * scale) * w_scale, then + bias, then + the old out where it accumulates: one rounding each
//
// Divide by the scale: multiplying by its reciprocal gives another q at ties. A `.cu` file may include this header.

#include <bit>
#include <cstdint>
#include <limits>

namespace rl::num {

inline constexpr std::int64_t kInt8MaxCols = 0x7fffffff / (127 * 127);

// The bits of |x|, ordered as |x| is, with infinity and then NaNs above.
constexpr std::uint32_t magnitude_bits(float x) { return std::bit_cast<std::uint32_t>(x) & 0x7fff'ffff; }

constexpr float int8_scale(std::uint32_t absmax_bits) {
  if (absmax_bits >= 0x7f80'0000) return std::numeric_limits<float>::quiet_NaN();
  return std::bit_cast<float>(absmax_bits) / 127.0f;
}

constexpr std::int8_t quantize_int8(float x, float scale) {
  if (!(scale > 0)) return 0;
  const float ratio = x / scale;
  if (!(ratio < 127)) return 127;  // a subnormal scale is rounded so far that the ratio can leave the range
  if (!(ratio > -127)) return -127;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: a float this large has no fraction, so adding it rounds
  return static_cast<std::int8_t>((ratio + kRound) - kRound);
}

constexpr float int8_product(std::int32_t acc, float scale, float weight_scale) {
  return static_cast<float>(acc) * scale * weight_scale;
}

}  // namespace rl::num
