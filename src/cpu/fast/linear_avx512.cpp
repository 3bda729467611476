// f32, bf16 and f16 weights times f32 on 512-bit multiply-adds: 16 rows per instruction. bf16 and f16 pairs of columns
// are widened to two vectors of f32, exactly, so that x keeps its 24 bits.

#include "cpu/fast/linear_tile.h"

#ifdef __AVX512F__
#include <immintrin.h>

namespace rl::cpu::linear {
namespace {

struct Base {
  using Vector = __m512;
  static constexpr int kXPart = 4;
  static Vector zero() { return _mm512_setzero_ps(); }
  static Vector load(const char* p) { return _mm512_load_ps(p); }
  static void store(char* p, Vector v) { _mm512_store_ps(p, v); }
  static Vector broadcast(const char* p) {
    float value;
    std::memcpy(&value, p, sizeof value);
    return _mm512_set1_ps(value);
  }
  static Vector add(Vector sum, Vector w, Vector x) { return _mm512_fmadd_ps(w, x, sum); }
};

struct F32 : Base {
  struct Weights {
    __m512 part[1];
  };
  static constexpr int kParts = 1, kXStep = 4;
  static Weights weights(const char* p) { return {{_mm512_load_ps(p)}}; }
};

struct WideBf16 : Base {
  struct Weights {
    __m512 part[2];
  };
  static constexpr int kParts = 2, kXStep = 8;
  static Weights weights(const char* p) {
    const __m512i pairs = _mm512_load_si512(p);
    return {{_mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)),
             _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(static_cast<int>(0xFFFF0000))))}};
  }
};

struct F16 : Base {
  struct Weights {
    __m512 part[2];
  };
  static constexpr int kParts = 2, kXStep = 8;
  static Weights weights(const char* p) {
    // even columns to the lower half, odd ones to the upper
    const __m512i order = _mm512_setr_epi32(0x00020000, 0x00060004, 0x000A0008, 0x000E000C, 0x00120010, 0x00160014,
                                            0x001A0018, 0x001E001C, 0x00030001, 0x00070005, 0x000B0009, 0x000F000D,
                                            0x00130011, 0x00170015, 0x001B0019, 0x001F001D);
    const __m512i sorted = _mm512_permutexvar_epi16(order, _mm512_load_si512(p));
    return {{_mm512_cvtph_ps(_mm512_castsi512_si256(sorted)), _mm512_cvtph_ps(_mm512_extracti64x4_epi64(sorted, 1))}};
  }
};

template <class Op>
constexpr Kernels table(int k_step) {
  return {.input = Input::f32,
          .k_step = k_step,
          .tile = {tile<Op, 1, 4>, tile<Op, 2, 4>, tile<Op, 3, 4>, tile<Op, 4, 4>, tile<Op, 5, 4>, tile<Op, 6, 4>},
          .store = store_float,
          .convert = convert_f32,
          .widen_codes = widen_codes,
          .round_fp8 = round_fp8};
}
constexpr Kernels kF32 = table<F32>(1), kBf16 = table<WideBf16>(2), kF16 = table<F16>(2);

}  // namespace

const Kernels* const kAvx512F32 = &kF32;
const Kernels* const kAvx512WideBf16 = &kBf16;
const Kernels* const kAvx512F16 = &kF16;

}  // namespace rl::cpu::linear
#else
namespace rl::cpu::linear {
const Kernels* const kAvx512F32 = nullptr;
const Kernels* const kAvx512WideBf16 = nullptr;
const Kernels* const kAvx512F16 = nullptr;
}  // namespace rl::cpu::linear
#endif
