#include "cpu/fast/probe_loops.h"

#ifdef __AVX512VNNI__
#include <immintrin.h>

namespace rl::cpu {
namespace {

struct Op {
  using Vector = __m512i;
  using Operand = __m512i;
  static Vector zero() { return _mm512_setzero_si512(); }
  static Operand operand() { return _mm512_set1_epi8(1); }
  template <class T>
  static void hide(T& value) {
    asm volatile("" : "+v"(value));
  }
  static Vector add(Vector sum, Operand a, Operand b) { return _mm512_dpbusd_epi32(sum, a, b); }
};

}  // namespace

const ProbeLoops kProbeAvx512Vnni{.multiply_add = multiply_add_loop<Op, 24>, .operations = 24 * 128};

}  // namespace rl::cpu
#else
const rl::cpu::ProbeLoops rl::cpu::kProbeAvx512Vnni{};
#endif
