#include "cpu/fast/probe_loops.h"

#ifdef __AVX512BF16__
#include <immintrin.h>

namespace rl::cpu {
namespace {

struct Op {
  using Vector = __m512;
  using Operand = __m512i;
  static Vector zero() { return _mm512_setzero_ps(); }
  static Operand operand() { return _mm512_set1_epi32(0x3F803F80); }  // ones
  template <class T>
  static void hide(T& value) {
    asm volatile("" : "+v"(value));
  }
  static Vector add(Vector sum, Operand a, Operand b) { return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b); }
};

}  // namespace

const ProbeLoops kProbeAvx512Bf16{.multiply_add = multiply_add_loop<Op, 24>, .operations = 24 * 64};

}  // namespace rl::cpu
#else
const rl::cpu::ProbeLoops rl::cpu::kProbeAvx512Bf16{};
#endif
