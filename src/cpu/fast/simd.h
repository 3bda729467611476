#pragma once
// Vectors of floats for kernels written once and compiled per instruction set: 16 lanes with AVX-512, 8 with AVX2, 4 in
// plain C++ (the compiler's own vectors, any architecture). Which one is decided by the flags of the file that includes
// this header, so everything here has internal linkage: a function compiled for AVX-512 must never be the copy that the
// linker keeps for the rest of the program. For the same reason such files use no inline functions of the standard
// library.

#include <cstdint>
#include <cstring>

#include "num/convert.h"

#if defined(__AVX2__)
#include <immintrin.h>
#pragma GCC diagnostic ignored "-Wuninitialized"  // g++ 12 warns inside its own immintrin.h
#endif

namespace rl::cpu {
namespace {  // see the head comment

inline std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }
inline std::int64_t larger(std::int64_t a, std::int64_t b) { return a > b ? a : b; }

inline constexpr float kInfinity = __builtin_inff();

// 2^f for f in [-0.5, 0.5], minimax in the relative error (Lawson's iteration): 1.6e-8 with coefficients rounded to
// float.
inline constexpr float kExp2[] = {
    1.f, 0.693147182f, 0.240226462f, 0.0555032864f, 0.00961848907f, 0.00133999309f, 0.000153458124f};

#if defined(__AVX512F__)
using Vec = __m512;
inline constexpr int kLanes = 16;

inline __mmask16 first_lanes(std::int64_t n) { return static_cast<__mmask16>((1u << n) - 1); }
inline Vec load(const float* p) { return _mm512_loadu_ps(p); }
inline Vec load_n(const float* p, std::int64_t n) { return _mm512_maskz_loadu_ps(first_lanes(n), p); }
inline void store(float* p, Vec v) { _mm512_storeu_ps(p, v); }
inline void store_n(float* p, Vec v, std::int64_t n) { _mm512_mask_storeu_ps(p, first_lanes(n), v); }
inline Vec splat(float x) { return _mm512_set1_ps(x); }
inline Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
// The larger of two; y where either is NaN.
inline Vec vmax(Vec x, Vec y) { return _mm512_max_ps(x, y); }
// a <= b ? x : y, lane by lane; y where a or b is NaN.
inline Vec select_le(Vec a, Vec b, Vec x, Vec y) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LE_OQ), y, x);
}
inline Vec vsqrt(Vec x) { return _mm512_sqrt_ps(x); }

inline Vec widen_bf16(__m256i bits) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16)); }
inline Vec load(const std::uint16_t* p) { return widen_bf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
inline Vec load_n(const std::uint16_t* p, std::int64_t n) {
  return widen_bf16(_mm256_maskz_loadu_epi16(first_lanes(n), p));
}
// To bf16, nearest even; a NaN stays one.
inline __m256i narrow_bf16(Vec v) {
  const __m512i bits = _mm512_castps_si512(v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
  const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_mask_mov_epi32(rounded, nan, quiet), 16));
}
inline void store(std::uint16_t* p, Vec v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow_bf16(v)); }
inline void store_n(std::uint16_t* p, Vec v, std::int64_t n) {
  _mm256_mask_storeu_epi16(p, first_lanes(n), narrow_bf16(v));
}

inline Vec load(const num::fp16* p) { return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
inline Vec load_n(const num::fp16* p, std::int64_t n) {
  return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_lanes(n), p));
}
inline __m256i narrow_f16(Vec v) { return _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline void store(num::fp16* p, Vec v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow_f16(v)); }
inline void store_n(num::fp16* p, Vec v, std::int64_t n) { _mm256_mask_storeu_epi16(p, first_lanes(n), narrow_f16(v)); }

inline Vec round_nearest(Vec x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
// y * 2^n for whole n: 0 or infinity beyond the range of floats.
inline Vec scale_by_power(Vec y, Vec n) { return _mm512_scalef_ps(y, n); }
inline float sum_lanes(Vec v) { return _mm512_reduce_add_ps(v); }
inline float max_lanes(Vec v) { return _mm512_reduce_max_ps(v); }

// Lane i of the result: the sum of the lanes of v[i].
inline Vec sum_rows(const Vec (&v)[kLanes]) {
  Vec a[8], b[4];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i)
    a[i] = _mm512_unpacklo_ps(v[2 * i], v[2 * i + 1]) + _mm512_unpackhi_ps(v[2 * i], v[2 * i + 1]);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512d x = _mm512_castps_pd(a[2 * i]), y = _mm512_castps_pd(a[2 * i + 1]);
    b[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(x, y)) + _mm512_castpd_ps(_mm512_unpackhi_pd(x, y));
  }
  const Vec c = _mm512_shuffle_f32x4(b[0], b[1], 0x88) + _mm512_shuffle_f32x4(b[0], b[1], 0xdd);
  const Vec d = _mm512_shuffle_f32x4(b[2], b[3], 0x88) + _mm512_shuffle_f32x4(b[2], b[3], 0xdd);
  return _mm512_shuffle_f32x4(c, d, 0x88) + _mm512_shuffle_f32x4(c, d, 0xdd);
}

// Rows become columns.
inline void transpose(Vec (&v)[kLanes]) {
  Vec a[16], b[16];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    a[2 * i] = _mm512_unpacklo_ps(v[2 * i], v[2 * i + 1]);
    a[2 * i + 1] = _mm512_unpackhi_ps(v[2 * i], v[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const __m512d x = _mm512_castps_pd(a[4 * i + h]), y = _mm512_castps_pd(a[4 * i + 2 + h]);
      b[4 * i + 2 * h] = _mm512_castpd_ps(_mm512_unpacklo_pd(x, y));
      b[4 * i + 2 * h + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(x, y));
    }
  }
  // b[4 i + c] holds, in its 128-bit part p, column 4 p + c of rows 4 i .. 4 i + 3.
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    const Vec lo01 = _mm512_shuffle_f32x4(b[c], b[4 + c], 0x44), hi01 = _mm512_shuffle_f32x4(b[c], b[4 + c], 0xee);
    const Vec lo23 = _mm512_shuffle_f32x4(b[8 + c], b[12 + c], 0x44),
              hi23 = _mm512_shuffle_f32x4(b[8 + c], b[12 + c], 0xee);
    v[c] = _mm512_shuffle_f32x4(lo01, lo23, 0x88);
    v[4 + c] = _mm512_shuffle_f32x4(lo01, lo23, 0xdd);
    v[8 + c] = _mm512_shuffle_f32x4(hi01, hi23, 0x88);
    v[12 + c] = _mm512_shuffle_f32x4(hi01, hi23, 0xdd);
  }
}

#elif defined(__AVX2__)
using Vec = __m256;
inline constexpr int kLanes = 8;

inline __m256i first_lanes(std::int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline Vec load(const float* p) { return _mm256_loadu_ps(p); }
inline Vec load_n(const float* p, std::int64_t n) { return _mm256_maskload_ps(p, first_lanes(n)); }
inline void store(float* p, Vec v) { _mm256_storeu_ps(p, v); }
inline void store_n(float* p, Vec v, std::int64_t n) { _mm256_maskstore_ps(p, first_lanes(n), v); }
inline Vec splat(float x) { return _mm256_set1_ps(x); }
inline Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
inline Vec vmax(Vec x, Vec y) { return _mm256_max_ps(x, y); }
inline Vec select_le(Vec a, Vec b, Vec x, Vec y) { return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LE_OQ)); }
inline Vec vsqrt(Vec x) { return _mm256_sqrt_ps(x); }

inline Vec load(const std::uint16_t* p) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
inline Vec load_n(const std::uint16_t* p, std::int64_t n) {
  std::uint16_t part[kLanes];
  for (int i = 0; i < kLanes; ++i) part[i] = i < n ? p[i] : std::uint16_t{0};
  return load(part);
}
inline void store(std::uint16_t* p, Vec v) {
  const __m256i bits = _mm256_castps_si256(v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256i high = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(high, high), 0x88);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
}
inline void store_n(std::uint16_t* p, Vec v, std::int64_t n) {
  std::uint16_t part[kLanes];
  store(part, v);
  for (int i = 0; i < kLanes; ++i)
    if (i < n) p[i] = part[i];
}

inline Vec load(const num::fp16* p) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
inline Vec load_n(const num::fp16* p, std::int64_t n) {
  num::fp16 part[kLanes];
  for (int i = 0; i < kLanes; ++i) part[i].bits = i < n ? p[i].bits : std::uint16_t{0};
  return load(part);
}
inline void store(num::fp16* p, Vec v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
inline void store_n(num::fp16* p, Vec v, std::int64_t n) {
  num::fp16 part[kLanes];
  store(part, v);
  for (int i = 0; i < kLanes; ++i)
    if (i < n) p[i].bits = part[i].bits;
}

inline Vec round_nearest(Vec x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
// y * 2^n for whole n and y around 1: no subnormal results.
inline Vec scale_by_power(Vec y, Vec n) {
  const __m256i exponent = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
  y = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(y), exponent));
  y = select_le(n, splat(-126.f), splat(0.f), y);
  return select_le(n, splat(127.f), y, splat(kInfinity));
}
inline float sum_lanes(Vec v) {
  __m128 s = _mm256_castps256_ps128(v) + _mm256_extractf128_ps(v, 1);
  s = s + _mm_movehl_ps(s, s);
  return _mm_cvtss_f32(s + _mm_movehdup_ps(s));
}
inline float max_lanes(Vec v) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ps(s, _mm_movehdup_ps(s)));
}

inline Vec sum_rows(const Vec (&v)[kLanes]) {
  Vec a[4], b[2];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i)
    a[i] = _mm256_unpacklo_ps(v[2 * i], v[2 * i + 1]) + _mm256_unpackhi_ps(v[2 * i], v[2 * i + 1]);
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    const __m256d x = _mm256_castps_pd(a[2 * i]), y = _mm256_castps_pd(a[2 * i + 1]);
    b[i] = _mm256_castpd_ps(_mm256_unpacklo_pd(x, y)) + _mm256_castpd_ps(_mm256_unpackhi_pd(x, y));
  }
  return _mm256_permute2f128_ps(b[0], b[1], 0x20) + _mm256_permute2f128_ps(b[0], b[1], 0x31);
}

inline void transpose(Vec (&v)[kLanes]) {
  Vec a[8], b[8];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    a[2 * i] = _mm256_unpacklo_ps(v[2 * i], v[2 * i + 1]);
    a[2 * i + 1] = _mm256_unpackhi_ps(v[2 * i], v[2 * i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const __m256d x = _mm256_castps_pd(a[4 * i + h]), y = _mm256_castps_pd(a[4 * i + 2 + h]);
      b[4 * i + 2 * h] = _mm256_castpd_ps(_mm256_unpacklo_pd(x, y));
      b[4 * i + 2 * h + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(x, y));
    }
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    v[c] = _mm256_permute2f128_ps(b[c], b[4 + c], 0x20);
    v[4 + c] = _mm256_permute2f128_ps(b[c], b[4 + c], 0x31);
  }
}

#else
using Vec = float __attribute__((vector_size(16)));
using VecInt = std::int32_t __attribute__((vector_size(16)));
inline constexpr int kLanes = 4;

inline Vec splat(float x) { return Vec{x, x, x, x}; }
inline Vec load(const float* p) {
  Vec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline Vec load_n(const float* p, std::int64_t n) {
  Vec v = splat(0);
  for (std::int64_t i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
inline void store(float* p, Vec v) { std::memcpy(p, &v, sizeof v); }
inline void store_n(float* p, Vec v, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) p[i] = v[i];
}
inline Vec fma(Vec a, Vec b, Vec c) { return a * b + c; }
inline Vec vmax(Vec x, Vec y) { return x > y ? x : y; }
inline Vec select_le(Vec a, Vec b, Vec x, Vec y) { return a <= b ? x : y; }
inline Vec vsqrt(Vec x) {
  for (int i = 0; i < kLanes; ++i) x[i] = __builtin_sqrtf(x[i]);
  return x;
}

inline float widen_bf16(std::uint16_t bits) {
  const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
  float x;
  std::memcpy(&x, &wide, sizeof x);
  return x;
}
inline std::uint16_t narrow_bf16(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if (x != x) return static_cast<std::uint16_t>((bits >> 16) | 0x40);
  return static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
inline Vec load_n(const std::uint16_t* p, std::int64_t n) {
  Vec v = splat(0);
  for (std::int64_t i = 0; i < n; ++i) v[i] = widen_bf16(p[i]);
  return v;
}
inline Vec load(const std::uint16_t* p) {
  return Vec{widen_bf16(p[0]), widen_bf16(p[1]), widen_bf16(p[2]), widen_bf16(p[3])};
}
inline void store_n(std::uint16_t* p, Vec v, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) p[i] = narrow_bf16(v[i]);
}
inline void store(std::uint16_t* p, Vec v) { store_n(p, v, kLanes); }

inline Vec load_n(const num::fp16* p, std::int64_t n) {
  Vec v = splat(0);
  for (std::int64_t i = 0; i < n; ++i) v[i] = num::to_float(p[i]);
  return v;
}
inline Vec load(const num::fp16* p) { return load_n(p, kLanes); }
inline void store_n(num::fp16* p, Vec v, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) p[i] = num::from_float<num::fp16>(v[i]);
}
inline void store(num::fp16* p, Vec v) { store_n(p, v, kLanes); }

// For |x| < 2^22: adding 1.5 * 2^23 leaves no room for a fraction.
inline Vec round_nearest(Vec x) { return (x + 12582912.f) - 12582912.f; }
// y * 2^n for whole n and y around 1: no subnormal results.
inline Vec scale_by_power(Vec y, Vec n) {
  for (int i = 0; i < kLanes; ++i) {
    const bool normal = n[i] > -126.f && n[i] <= 127.f;
    std::uint32_t bits;
    const float lane = y[i];
    std::memcpy(&bits, &lane, sizeof bits);
    bits += static_cast<std::uint32_t>(normal ? static_cast<std::int32_t>(n[i]) : 0) << 23;
    float scaled;
    std::memcpy(&scaled, &bits, sizeof scaled);
    y[i] = normal ? scaled : n[i] > 0 ? kInfinity : 0.f;
  }
  return y;
}
inline float sum_lanes(Vec v) { return (v[0] + v[2]) + (v[1] + v[3]); }
inline float max_lanes(Vec v) {
  const float a = v[0] > v[2] ? v[0] : v[2], b = v[1] > v[3] ? v[1] : v[3];
  return a > b ? a : b;
}
inline Vec sum_rows(const Vec (&v)[kLanes]) {
  return Vec{sum_lanes(v[0]), sum_lanes(v[1]), sum_lanes(v[2]), sum_lanes(v[3])};
}
inline void transpose(Vec (&v)[kLanes]) {
  const Vec a = v[0], b = v[1], c = v[2], d = v[3];
  for (int i = 0; i < kLanes; ++i) v[i] = Vec{a[i], b[i], c[i], d[i]};
}
#endif

// 2^f for f in [-0.5, 0.5].
inline Vec exp2_fraction(Vec f) {
  Vec y = splat(kExp2[6]);
#pragma GCC unroll 6
  for (int i = 5; i >= 0; --i) y = fma(y, f, splat(kExp2[i]));
  return y;
}

// 2^x for x <= 127, relative error below 2e-7; exactly 0 where a masked score's -inf is; NaN stays NaN.
inline Vec exp2(Vec x) {
  const Vec limited = vmax(splat(-160.f), x);
  const Vec n = round_nearest(limited);
  const Vec y = scale_by_power(exp2_fraction(limited - n), n);
  return kLanes == 16 ? y : select_le(x, splat(kInfinity), y, x);
}

// e^x, relative error below 3e-7; 0 and infinity beyond the range of floats; NaN stays NaN. ln 2 in two parts, the
// first of 10 bits, so that x - n ln 2 is exact up to the second: Cody and Waite, 1980.
inline Vec exp(Vec x) {
  Vec limited = vmax(splat(-110.f), x);
  limited = select_le(splat(110.f), limited, splat(110.f), limited);
  const Vec n = round_nearest(limited * splat(1.44269504f));
  const Vec rest = (limited - n * splat(0.693359375f)) - n * splat(-2.12194440e-4f);
  const Vec y = scale_by_power(exp2_fraction(rest * splat(1.44269504f)), n);
  return kLanes == 16 ? y : select_le(x, splat(kInfinity), y, x);
}

}  // namespace
}  // namespace rl::cpu
