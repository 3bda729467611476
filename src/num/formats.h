#pragma once
// The number formats of weights, activations and caches, bit-exact on the host. Conversions round to nearest, ties to
// even; bf16 and fp16 keep infinities and NaN; fp8 saturates to the largest finite value as CUDA's
// __NV_SATFINITE conversions do (NaN stays NaN). A `.cu` file may include this header: plain structs, <bit> only.

#include <bit>
#include <cstdint>

namespace rl::num {

struct bf16 {  // 1 sign, 8 exponent, 7 mantissa bits
  std::uint16_t bits = 0;
  friend constexpr bool operator==(bf16, bf16) = default;  // of the bits
};

struct fp16 {  // IEEE 754 binary16: 1, 5, 10
  std::uint16_t bits = 0;
  friend constexpr bool operator==(fp16, fp16) = default;
};

struct fp8_e4m3 {  // OCP e4m3fn: 1, 4, 3; no infinity, NaN = s.1111.111, largest 448
  std::uint8_t bits = 0;
  friend constexpr bool operator==(fp8_e4m3, fp8_e4m3) = default;
};

struct fp8_e5m2 {  // OCP e5m2: 1, 5, 2; infinity and NaN as IEEE, largest 57344
  std::uint8_t bits = 0;
  friend constexpr bool operator==(fp8_e5m2, fp8_e5m2) = default;
};

}  // namespace rl::num
