#include "cpu/fast/probe_loops.h"

#ifdef __AVX2__
#include <immintrin.h>

namespace rl::cpu {
namespace {

struct F32 {
  using Vector = __m256;
  using Operand = __m256;
  static Vector zero() { return _mm256_setzero_ps(); }
  static Operand operand() { return _mm256_set1_ps(1); }
  static void hide(Vector& value) { asm volatile("" : "+x"(value)); }
  static Vector add(Vector sum, Operand a, Operand b) { return _mm256_fmadd_ps(a, b, sum); }
};

struct Int8 {  // as bytes widened to 16 bits
  using Vector = __m256i;
  using Operand = __m256i;
  static Vector zero() { return _mm256_setzero_si256(); }
  static Operand operand() { return _mm256_set1_epi16(1); }
  static void hide(Vector& value) { asm volatile("" : "+x"(value)); }
  static Vector add(Vector sum, Operand a, Operand b) { return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)); }
};

}  // namespace

const ProbeLoops kProbeAvx2{
    .read = read_loop<ReadVector<32>::Type>, .multiply_add = multiply_add_loop<F32, 12>, .operations = 12 * 16};
const ProbeLoops kProbeAvx2Int8{.multiply_add = multiply_add_loop<Int8, 12>, .operations = 12 * 32};

}  // namespace rl::cpu
#else
const rl::cpu::ProbeLoops rl::cpu::kProbeAvx2{};
const rl::cpu::ProbeLoops rl::cpu::kProbeAvx2Int8{};
#endif
