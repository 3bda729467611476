// bf16 x bf16 -> f32 on 512-bit vdpbf16ps (AVX512_BF16): two columns of 16 rows per instruction. It rounds to nearest
// and takes subnormals for zero, whatever MXCSR says (Intel SDM, vol. 2, VDPBF16PS).
// A tile of 6 rows of x holds 24 accumulators, 4 vectors of weights and one broadcast pair of x: 29 of 32 registers, 10
// loads for 24 multiply-adds.

#include "cpu/fast/linear_tile.h"

#ifdef __AVX512BF16__
#include <immintrin.h>

namespace rl::cpu::linear {
namespace {

struct Op {
  using Vector = __m512;
  struct Weights {
    __m512bh part[1];
  };
  static constexpr int kParts = 1, kXStep = 4, kXPart = 4;
  static Vector zero() { return _mm512_setzero_ps(); }
  static Vector load(const char* p) { return _mm512_load_ps(p); }
  static void store(char* p, Vector v) { _mm512_store_ps(p, v); }
  static Weights weights(const char* p) { return {{(__m512bh)_mm512_load_si512(p)}}; }
  static __m512bh broadcast(const char* p) {
    int pair;
    std::memcpy(&pair, p, sizeof pair);
    return (__m512bh)_mm512_set1_epi32(pair);
  }
  static Vector add(Vector sum, __m512bh w, __m512bh x) { return _mm512_dpbf16_ps(sum, w, x); }
};

constexpr Kernels kTable = {
    .input = Input::bf16,
    .k_step = 2,
    .tile = {tile<Op, 1, 4>, tile<Op, 2, 4>, tile<Op, 3, 4>, tile<Op, 4, 4>, tile<Op, 5, 4>, tile<Op, 6, 4>},
    .store = store_float,
    .convert = convert_bf16};

}  // namespace

const Kernels* const kAvx512Bf16 = &kTable;

}  // namespace rl::cpu::linear
#else
const rl::cpu::linear::Kernels* const rl::cpu::linear::kAvx512Bf16 = nullptr;
#endif
