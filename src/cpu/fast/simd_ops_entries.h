#pragma once
// The table of small ops for the instruction set this is compiled for. Included once per instruction set: see simd.h.

#include "cpu/fast/simd.h"
#include "cpu/fast/simd_ops.h"

namespace rl::cpu {
namespace {

// Calls f(at, n) for vectors [at, at + kLanes) and once for the n < kLanes elements left.
template <class F>
inline void for_vectors(std::int64_t n, F&& f) {
  std::int64_t at = 0;
  for (; at + kLanes <= n; at += kLanes) f(at, std::int64_t{kLanes});
  if (at < n) f(at, n - at);
}
template <class T>
inline Vec load_some(const T* p, std::int64_t n) {
  return n == kLanes ? load(p) : load_n(p, n);
}
template <class T>
inline void store_some(T* p, Vec v, std::int64_t n) {
  n == kLanes ? store(p, v) : store_n(p, v, n);
}

// 1 / sqrt(mean(x^2) + eps).
template <class T>
inline Vec inverse_rms(const T* x, std::int64_t n, float eps) {
  Vec sum[4] = {splat(0), splat(0), splat(0), splat(0)};
  std::int64_t at = 0;
  for (; at + 4 * kLanes <= n; at += 4 * kLanes)
    for (int i = 0; i < 4; ++i) {
      const Vec v = load(x + at + i * kLanes);
      sum[i] = fma(v, v, sum[i]);
    }
  for_vectors(n - at, [&](std::int64_t i, std::int64_t count) {
    const Vec v = load_some(x + at + i, count);
    sum[0] = fma(v, v, sum[0]);
  });
  const float mean = sum_lanes((sum[0] + sum[1]) + (sum[2] + sum[3])) / static_cast<float>(n);
  return splat(1) / vsqrt(splat(mean + eps));
}

template <class Out>
inline void rms_norm_to(const float* x, const float* weight, std::int64_t n, float eps, Out* out) {
  const Vec factor = inverse_rms(x, n, eps);
  for_vectors(n, [&](std::int64_t i, std::int64_t count) {
    store_some(out + i, load_some(x + i, count) * factor * load_some(weight + i, count), count);
  });
}

// f(pointer to the elements): of bf16 to std::uint16_t, as simd.h has it.
template <class F>
inline void with_type(Number type, void* data, F&& f) {
  if (type == Number::f32) return f(static_cast<float*>(data));
  if (type == Number::bf16) return f(static_cast<std::uint16_t*>(data));
  f(static_cast<num::fp16*>(data));
}

void rms_norm_row(const float* x, const float* weight, std::int64_t n, float eps, void* out, Number out_type) {
  with_type(out_type, out, [&](auto* to) { rms_norm_to(x, weight, n, eps, to); });
}

template <class T>
inline void rope(const RopeHead& head) {
  const auto* const in = static_cast<const T*>(head.in);
  auto* const out = static_cast<T*>(head.out);
  const std::int64_t half = head.head_dim / 2;
  const Vec factor = head.norm ? inverse_rms(in, head.head_dim, head.eps) : splat(1);
  for_vectors(half, [&](std::int64_t i, std::int64_t n) {
    Vec x = load_some(in + i, n), y = load_some(in + half + i, n);
    if (head.norm) {
      x = x * factor * load_some(head.norm + i, n);
      y = y * factor * load_some(head.norm + half + i, n);
    }
    const Vec cos = load_some(head.cos + i, n), sin = load_some(head.sin + i, n);
    store_some(out + i, x * cos - y * sin, n);
    store_some(out + half + i, fma(y, cos, x * sin), n);
  });
}

void rope_head(const RopeHead& head) {
  if (head.type == Number::f32) return rope<float>(head);
  if (head.type == Number::bf16) return rope<std::uint16_t>(head);
  rope<num::fp16>(head);
}

// silu(g) = g z / (1 + z) with z = e^g for negative g: e^-g would overflow where the result is still a normal number,
// and so that z does not underflow either, it is applied as its root, twice.
template <class T>
inline void silu_mul_of(const T* gate, const T* up, std::int64_t n, T* out) {
  for_vectors(n, [&](std::int64_t i, std::int64_t count) {
    const Vec g = load_some(gate + i, count);
    const Vec root = exp(vmax(g, splat(0) - g) * splat(-0.5f));
    const Vec scaled = select_le(splat(0), g, g, (g * root) * root);
    store_some(out + i, scaled / fma(root, root, splat(1)) * load_some(up + i, count), count);
  });
}

void silu_mul_row(const void* gate, const void* up, std::int64_t n, void* out, Number type) {
  with_type(type, out,
            [&]<class T>(T* to) { silu_mul_of(static_cast<const T*>(gate), static_cast<const T*>(up), n, to); });
}

void widen_bf16_row(const std::uint16_t* in, std::int64_t n, float* out) {
  for_vectors(n, [&](std::int64_t i, std::int64_t count) { store_some(out + i, load_some(in + i, count), count); });
}

void widen_f16_row(const num::fp16* in, std::int64_t n, float* out) {
  for_vectors(n, [&](std::int64_t i, std::int64_t count) { store_some(out + i, load_some(in + i, count), count); });
}

void widen_int8_row(const std::int8_t* in, std::int64_t n, float scale, float* out) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(in[i]) * scale;
}

LogitScan scan_logits_row(const float* logits, std::int64_t n) {
  Vec most[4], least[4], nan[4];
  for (int i = 0; i < 4; ++i) most[i] = splat(-kInfinity), least[i] = splat(kInfinity), nan[i] = splat(0);
  const auto look = [&](int i, Vec v) {
    most[i] = vmax(v, most[i]);
    least[i] = select_le(v, least[i], v, least[i]);
    nan[i] = select_le(v, splat(kInfinity), nan[i], splat(1));  // only a NaN fails the comparison
  };
  std::int64_t at = 0;
  for (; at + 4 * kLanes <= n; at += 4 * kLanes)
    for (int i = 0; i < 4; ++i) look(i, load(logits + at + i * kLanes));
  for (; at < n; ++at) look(0, splat(logits[at]));
  for (int i = 1; i < 4; ++i) {
    most[0] = vmax(most[i], most[0]);
    least[0] = select_le(least[i], least[0], least[i], least[0]);
    nan[0] = vmax(nan[i], nan[0]);
  }
  LogitScan scan{.maximum = max_lanes(most[0]), .minimum = 0 - max_lanes(splat(0) - least[0])};
  scan.nan = max_lanes(nan[0]) > 0;
  // The first that equals it: in vectors up to the one that holds it.
  const Vec wanted = splat(scan.maximum);
  for (at = 0; at + kLanes <= n; at += kLanes)
    if (max_lanes(select_le(wanted, load(logits + at), splat(1), splat(0))) > 0) break;
  while (at < n && logits[at] < scan.maximum) ++at;
  scan.index = at;
  return scan;
}

void bucket_logits_row(const float* logits, std::int64_t n, const LogitBuckets& buckets, std::int32_t* bucket) {
  const double last = buckets.last;
  for (std::int64_t i = 0; i < n; ++i) {
    const double place = (buckets.maximum - static_cast<double>(logits[i])) * buckets.scale;
    bucket[i] = static_cast<std::int32_t>(place < last ? place : last);
  }
}

// A Taylor polynomial of degree 13 on [-ln 2 / 2, ln 2 / 2] (remainder 4e-18), ln 2 in two parts as in exp().
void weigh_logits_row(const float* logits, std::int64_t n, double maximum, double inverse_temperature, double* weight) {
  constexpr double kRounder = 0x1.8p52;  // adding it rounds to an integer, kept in the low bits
  constexpr double kTaylor[] = {
      1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040,
      1.0 / 720,        1.0 / 120,       1.0 / 24,       1.0 / 6,       1.0 / 2,      1.0,         1.0};
  for (std::int64_t i = 0; i < n; ++i) {
    double x = (static_cast<double>(logits[i]) - maximum) * inverse_temperature;
    x = x > -707 ? x : -707;
    const double shifted = x * 1.4426950408889634 + kRounder, power = shifted - kRounder;
    const double r = (x - power * 0.693147180369123816490) - power * 1.90821492927058770002e-10;
    double y = kTaylor[0];
#pragma GCC unroll 13
    for (int k = 1; k < 14; ++k) y = y * r + kTaylor[k];
    const auto bits = __builtin_bit_cast(std::uint64_t, y) + (__builtin_bit_cast(std::uint64_t, shifted) << 52);
    weight[i] = __builtin_bit_cast(double, bits);
  }
}

inline constexpr SmallOps kSmallOpsEntries{.rms_norm = rms_norm_row,
                                           .rope_head = rope_head,
                                           .silu_mul = silu_mul_row,
                                           .widen_bf16 = widen_bf16_row,
                                           .widen_f16 = widen_f16_row,
                                           .widen_int8 = widen_int8_row,
                                           .scan_logits = scan_logits_row,
                                           .bucket_logits = bucket_logits_row,
                                           .weigh_logits = weigh_logits_row};

}  // namespace
}  // namespace rl::cpu
