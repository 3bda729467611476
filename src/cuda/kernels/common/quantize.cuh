#pragma once
// Numbers to 8-bit codes, as num/int8.h and num/fp8.h have it.

#include <cstdint>

#include <cuda_fp8.h>

namespace rl::cuda {

struct Int8Codes {
  using Code = std::int8_t;
  static constexpr float kMost = 127.0f;
  __device__ static Code code(float x, float scale) {
    if (!(scale > 0)) return 0;
    const float ratio = __fdiv_rn(x, scale);
    if (!(ratio < 127)) return 127;
    if (!(ratio > -127)) return -127;
    return static_cast<Code>(__float2int_rn(ratio));
  }
};
struct Fp8Codes {
  using Code = __nv_fp8_storage_t;
  static constexpr float kMost = 448.0f;
  __device__ static Code code(float x, float scale) {
    return scale > 0 ? __nv_cvt_float_to_fp8(__fdiv_rn(x, scale), __NV_SATFINITE, __NV_E4M3) : Code{0};
  }
};

// The scale of numbers whose largest magnitude has these bits; NaN for infinities and NaN.
template <class Codes>
__device__ inline float scale_of(std::uint32_t absmax_bits) {
  if (absmax_bits >= 0x7f800000u) return __int_as_float(0x7fffffff);
  return __fdiv_rn(__uint_as_float(absmax_bits), Codes::kMost);
}

}  // namespace rl::cuda
