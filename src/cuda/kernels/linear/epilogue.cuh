#pragma once
// What becomes of a finished sum: scales, bias, the old output, rounding.

#include "cuda/kernels/common/element.cuh"
#include "cuda/kernels/linear/linear.h"

namespace rl::cuda {

// Products by themselves: a product that is fused with an addition would not be what num/int8.h and num/fp8.h say.
// Blocked sums come scaled.
template <class Sum>
__device__ inline float scaled(const LinearParams& p, std::int64_t token, std::int64_t row, Sum sum) {
  float value = static_cast<float>(sum);
  if (p.blocked) return value;
  if (p.x_scale != nullptr) value = __fmul_rn(value, p.x_scale[token]);
  if (p.w_scale != nullptr) value = __fmul_rn(value, p.w_scale[row]);
  return value;
}

template <class Out>
__device__ inline void store(const LinearParams& p, std::int64_t token, std::int64_t row, float value) {
  if (p.bias != nullptr) value = __fadd_rn(value, p.bias[row]);
  Out* out = static_cast<Out*>(p.out) + token * p.rows + row;
  if constexpr (sizeof(Out) == 4) {
    if (p.accumulate) value = __fadd_rn(value, *out);
  }
  *out = from_float<Out>(value);
}

// A scaled sum to its place, as p.out_type.
__device__ inline void store(const LinearParams& p, std::int64_t token, std::int64_t row, float value) {
  switch (p.out_type) {
    case DType::bf16:
      return store<__nv_bfloat16>(p, token, row, value);
    case DType::f16:
      return store<__half>(p, token, row, value);
    default:
      return store<float>(p, token, row, value);
  }
}

template <class Sum>
__device__ inline void finish(const LinearParams& p, std::int64_t token, std::int64_t row, Sum sum) {
  store(p, token, row, scaled(p, token, row, sum));
}

}  // namespace rl::cuda
