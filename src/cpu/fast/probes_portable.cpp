#include "cpu/fast/probe_loops.h"

namespace rl::cpu {
namespace {

using Floats = float __attribute__((vector_size(16)));
using Ints = std::int32_t __attribute__((vector_size(16)));

template <class V>
struct Op {
  using Vector = V;
  using Operand = V;
  static Vector zero() { return V{}; }
  static Operand operand() { return V{1, 1, 1, 1}; }
#if defined(__x86_64__)
  static void hide(Vector& value) { asm volatile("" : "+x"(value)); }
#elif defined(__aarch64__)
  static void hide(Vector& value) { asm volatile("" : "+w"(value)); }
#else
  static void hide(Vector& value) { asm volatile("" : "+m"(value)); }
#endif
  static Vector add(Vector sum, Operand a, Operand b) { return sum + a * b; }
};

}  // namespace

const ProbeLoops kProbePortable{
    .read = read_loop<ReadVector<16>::Type>, .multiply_add = multiply_add_loop<Op<Floats>, 12>, .operations = 12 * 8};
const ProbeLoops kProbePortableInt8{.multiply_add = multiply_add_loop<Op<Ints>, 12>, .operations = 12 * 8};

}  // namespace rl::cpu
