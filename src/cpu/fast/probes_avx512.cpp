#include "cpu/fast/probe_loops.h"

#ifdef __AVX512F__
#include <immintrin.h>

namespace rl::cpu {
namespace {

struct Op {
  using Vector = __m512;
  using Operand = __m512;
  static Vector zero() { return _mm512_setzero_ps(); }
  static Operand operand() { return _mm512_set1_ps(1); }
  static void hide(Vector& value) { asm volatile("" : "+v"(value)); }
  static Vector add(Vector sum, Operand a, Operand b) { return _mm512_fmadd_ps(a, b, sum); }
};

}  // namespace

const ProbeLoops kProbeAvx512{
    .read = read_loop<ReadVector<64>::Type>, .multiply_add = multiply_add_loop<Op, 24>, .operations = 24 * 32};

}  // namespace rl::cpu
#else
const rl::cpu::ProbeLoops rl::cpu::kProbeAvx512{};
#endif
