// int8 x int8 -> int32 on 512-bit vpdpbusd (AVX512_VNNI): four columns of 16 rows per instruction, exact. The
// instruction takes one unsigned operand: x + 128. What that adds, 128 times the sum of each row of W, is the product
// with the constant row 0 (Input::u8_biased), which wraps modulo 2^32 like the sums it is taken off.

#include "cpu/fast/linear_tile.h"

#ifdef __AVX512VNNI__
#include <immintrin.h>

namespace rl::cpu::linear {
namespace {

struct Op {
  using Vector = __m512i;
  struct Weights {
    __m512i part[1];
  };
  static constexpr int kParts = 1, kXStep = 4, kXPart = 4;
  static Vector zero() { return _mm512_setzero_si512(); }
  static Vector load(const char* p) { return _mm512_load_si512(p); }
  static void store(char* p, Vector v) { _mm512_store_si512(p, v); }
  static Weights weights(const char* p) { return {{_mm512_load_si512(p)}}; }
  static __m512i broadcast(const char* p) {
    int quad;
    std::memcpy(&quad, p, sizeof quad);
    return _mm512_set1_epi32(quad);
  }
  static Vector add(Vector sum, __m512i w, __m512i x) { return _mm512_dpbusd_epi32(sum, x, w); }
};

constexpr Kernels kTable = {
    .input = Input::u8_biased,
    .k_step = 4,
    .tile = {tile<Op, 1, 4>, tile<Op, 2, 4>, tile<Op, 3, 4>, tile<Op, 4, 4>, tile<Op, 5, 4>, tile<Op, 6, 4>},
    .store = store_int8,
    .convert = convert_u8};

}  // namespace

const Kernels* const kAvx512Vnni = &kTable;

}  // namespace rl::cpu::linear
#else
const rl::cpu::linear::Kernels* const rl::cpu::linear::kAvx512Vnni = nullptr;
#endif
