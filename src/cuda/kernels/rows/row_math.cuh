#pragma once
// The arithmetic of the row ops, in one place: a kernel of its own and a product that takes the op in give equal bits.

#include "cuda/kernels/common/element.cuh"

namespace rl::cuda {

// RMS norm: squares are added in the order of virtual threads, kNormThreads to a row: piece i of thread v has the four
// columns from (i * kNormThreads + v) * 4 on.
constexpr int kNormThreads = 512, kNormPieces = 4;
constexpr int kNormHeldCols = kNormThreads * 4 * kNormPieces;  // of rows that registers hold

__device__ inline float square_sum(const float4& v) {
  return fmaf(v.w, v.w, fmaf(v.z, v.z, fmaf(v.y, v.y, v.x * v.x)));
}
__device__ inline float inverse_of_norm(float squares, int hidden, float eps) {
  return 1.0f / sqrtf(squares / static_cast<float>(hidden) + eps);
}
template <class T>
__device__ inline Vector<T, 4> normed(const float4& v, float inverse, const float4& w) {
  return {from_float<T>(v.x * inverse * w.x), from_float<T>(v.y * inverse * w.y), from_float<T>(v.z * inverse * w.z),
          from_float<T>(v.w * inverse * w.w)};
}

// g / (1 + exp(-g)) * u, with the exponential of a number that is not positive: it cannot overflow.
template <class T>
__device__ inline T silu_times(T gate, T up) {
  const float g = to_float(gate), e = expf(-fabsf(g));
  return from_float<T>((g < 0 ? g * e : g) / (1.0f + e) * to_float(up));
}

// A pair turned by an angle.
__device__ inline float rotated_low(float low, float high, float c, float s) {
  return fmaf(low, c, -__fmul_rn(high, s));
}
__device__ inline float rotated_high(float low, float high, float c, float s) {
  return fmaf(high, c, __fmul_rn(low, s));
}

}  // namespace rl::cuda
