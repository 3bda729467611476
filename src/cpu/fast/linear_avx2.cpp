// All weight formats on 256-bit AVX2, FMA and F16C: 8 rows per instruction. 16 registers hold 12 accumulators at most,
// so larger tiles walk a part of the panel's width at a time (the panel's lines are in the cache by then).

#include "cpu/fast/linear_tile.h"

#ifdef __AVX2__
#include <immintrin.h>

namespace rl::cpu::linear {
namespace {

struct Base {
  using Vector = __m256;
  static constexpr int kXPart = 4;
  static Vector zero() { return _mm256_setzero_ps(); }
  static Vector load(const char* p) { return _mm256_load_ps(reinterpret_cast<const float*>(p)); }
  static void store(char* p, Vector v) { _mm256_store_ps(reinterpret_cast<float*>(p), v); }
  static Vector broadcast(const char* p) {
    float value;
    std::memcpy(&value, p, sizeof value);
    return _mm256_set1_ps(value);
  }
  static Vector add(Vector sum, Vector w, Vector x) { return _mm256_fmadd_ps(w, x, sum); }
};

struct F32 : Base {
  struct Weights {
    __m256 part[1];
  };
  static constexpr int kParts = 1, kXStep = 4;
  static Weights weights(const char* p) { return {{load(p)}}; }
};

struct Bf16 : Base {
  struct Weights {
    __m256 part[2];
  };
  static constexpr int kParts = 2, kXStep = 8;
  static Weights weights(const char* p) {
    const __m256i pairs = _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
    return {{_mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16)),
             _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(static_cast<int>(0xFFFF0000))))}};
  }
};

struct F16 : Base {
  struct Weights {
    __m256 part[2];
  };
  static constexpr int kParts = 2, kXStep = 8;
  static Weights weights(const char* p) {
    const __m256i pairs = _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
    // even columns to the lower half, odd ones to the upper: within each lane, then across
    const __m256i in_lane = _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15, 0, 1, 4, 5, 8, 9, 12,
                                             13, 2, 3, 6, 7, 10, 11, 14, 15);
    const __m256i sorted = _mm256_permute4x64_epi64(_mm256_shuffle_epi8(pairs, in_lane), _MM_SHUFFLE(3, 1, 2, 0));
    return {{_mm256_cvtph_ps(_mm256_castsi256_si128(sorted)), _mm256_cvtph_ps(_mm256_extracti128_si256(sorted, 1))}};
  }
};

// Bytes are widened to 16 bits, even and odd columns apart, and multiplied by vpmaddwd: exact, as each sum of two
// products is below 2^15 (vpmaddubsw would saturate).
struct Int8 {
  using Vector = __m256i;
  struct Weights {
    __m256i part[2];
  };
  static constexpr int kParts = 2, kXStep = 8, kXPart = 4;
  static Vector zero() { return _mm256_setzero_si256(); }
  static Vector load(const char* p) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(p)); }
  static void store(char* p, Vector v) { _mm256_store_si256(reinterpret_cast<__m256i*>(p), v); }
  static Weights weights(const char* p) {
    const __m256i quads = load(p);
    return {{_mm256_srai_epi16(_mm256_slli_epi16(quads, 8), 8), _mm256_srai_epi16(quads, 8)}};
  }
  static Vector broadcast(const char* p) {
    int pair;
    std::memcpy(&pair, p, sizeof pair);
    return _mm256_set1_epi32(pair);
  }
  static Vector add(Vector sum, __m256i w, __m256i x) { return _mm256_add_epi32(sum, _mm256_madd_epi16(w, x)); }
};

template <class Op>
constexpr Kernels table(Input input, int k_step) {
  return {.input = input,
          .k_step = k_step,
          .tile = {tile<Op, 1, 8>, tile<Op, 2, 4>, tile<Op, 3, 4>, tile<Op, 4, 2>, tile<Op, 5, 2>, tile<Op, 6, 2>},
          .store = input == Input::s16 ? store_int8 : store_float,
          .convert = input == Input::s16 ? convert_s16 : convert_f32,
          .widen_codes = widen_codes,
          .round_fp8 = round_fp8};
}
constexpr Kernels kF32 = table<F32>(Input::f32, 1), kBf16 = table<Bf16>(Input::f32, 2),
                  kF16 = table<F16>(Input::f32, 2), kInt8 = table<Int8>(Input::s16, 4);

}  // namespace

const Kernels* const kAvx2F32 = &kF32;
const Kernels* const kAvx2Bf16 = &kBf16;
const Kernels* const kAvx2F16 = &kF16;
const Kernels* const kAvx2Int8 = &kInt8;

}  // namespace rl::cpu::linear
#else
namespace rl::cpu::linear {
const Kernels* const kAvx2F32 = nullptr;
const Kernels* const kAvx2Bf16 = nullptr;
const Kernels* const kAvx2F16 = nullptr;
const Kernels* const kAvx2Int8 = nullptr;
}  // namespace rl::cpu::linear
#endif
