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

// What is added to a scaled sum, where there is any. Read by itself: it can be asked for before the sum is there.
struct Addends {
  float bias, before;  // before: the output's old value, fp32
};
__device__ inline Addends addends_of(const LinearParams& p, std::int64_t token, std::int64_t row) {
  return {.bias = p.bias != nullptr ? p.bias[row] : 0.0f,
          .before = p.accumulate ? static_cast<const float*>(p.out)[token * p.rows + row] : 0.0f};
}

template <class Out>
__device__ inline void store(const LinearParams& p, std::int64_t token, std::int64_t row, float value,
                             const Addends& addends) {
  if (p.bias != nullptr) value = __fadd_rn(value, addends.bias);
  if constexpr (sizeof(Out) == 4) {
    if (p.accumulate) value = __fadd_rn(value, addends.before);
  }
  static_cast<Out*>(p.out)[token * p.rows + row] = from_float<Out>(value);
}

// A scaled sum to its place, as p.out_type.
__device__ inline void store(const LinearParams& p, std::int64_t token, std::int64_t row, float value,
                             const Addends& addends) {
  switch (p.out_type) {
    case DType::bf16:
      return store<__nv_bfloat16>(p, token, row, value, addends);
    case DType::f16:
      return store<__half>(p, token, row, value, addends);
    default:
      return store<float>(p, token, row, value, addends);
  }
}

template <class Sum>
__device__ inline void finish(const LinearParams& p, std::int64_t token, std::int64_t row, Sum sum) {
  store(p, token, row, scaled(p, token, row, sum), addends_of(p, token, row));
}

}  // namespace rl::cuda
