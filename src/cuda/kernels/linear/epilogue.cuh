#pragma once
// What becomes of a finished sum.

#include "cuda/kernels/common/element.cuh"
#include "cuda/kernels/linear/linear.h"

namespace rl::cuda {

// value: of out[token, row], scales applied.
template <class Out>
__device__ inline void finish(const LinearParams& p, std::int64_t token, std::int64_t row, float value) {
  if (p.bias != nullptr) value += p.bias[row];
  Out* out = static_cast<Out*>(p.out) + token * p.rows + row;
  if constexpr (sizeof(Out) == 4) {
    if (p.accumulate) value += *out;
  }
  *out = from_float<Out>(value);
}

// An integer sum becomes sum * (x scale * w scale), as num/int8.h has it.
__device__ inline float scaled(const LinearParams& p, std::int64_t token, std::int64_t row, std::int32_t sum) {
  return static_cast<float>(sum) * (p.x_scale[token] * p.w_scale[row]);
}
__device__ inline float scaled(const LinearParams&, std::int64_t, std::int64_t, float sum) { return sum; }

}  // namespace rl::cuda
