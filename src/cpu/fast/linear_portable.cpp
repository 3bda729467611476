// All weight formats on any processor: vectors of four rows in the compiler's own vector type, which it maps to
// whatever the machine has (SSE2 on every x86-64, NEON on ARM).

#include "cpu/fast/linear_tile.h"

namespace rl::cpu::linear {
namespace {

using Floats = float __attribute__((vector_size(16)));
using Ints = std::int32_t __attribute__((vector_size(16)));
using Words = std::uint32_t __attribute__((vector_size(16)));

template <class V>
V read(const char* p) {
  V v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

struct Base {
  using Vector = Floats;
  static constexpr int kXPart = 4;
  static Vector zero() { return Floats{}; }
  static Vector load(const char* p) { return read<Floats>(p); }
  static void store(char* p, Vector v) { std::memcpy(p, &v, sizeof v); }
  static Vector broadcast(const char* p) {
    float value;
    std::memcpy(&value, p, sizeof value);
    return Floats{value, value, value, value};
  }
  static Vector add(Vector sum, Vector w, Vector x) { return sum + w * x; }
};

struct F32 : Base {
  struct Weights {
    Floats part[1];
  };
  static constexpr int kParts = 1, kXStep = 4;
  static Weights weights(const char* p) { return {{load(p)}}; }
};

struct Bf16 : Base {
  struct Weights {
    Floats part[2];
  };
  static constexpr int kParts = 2, kXStep = 8;
  static Weights weights(const char* p) {
    const Words pairs = read<Words>(p);
    return {{(Floats)(pairs << 16), (Floats)(pairs & 0xFFFF0000U)}};
  }
};

// A half in the low 16 bits of each word: its exponent is re-biased by an exact multiplication with 2^112, which also
// normalises subnormals (Fabian Giesen, "half to float done quic", 2012).
Floats widen_half(Words half) {
  const Floats magnitude = (Floats)((half & 0x7FFFU) << 13) * 0x1p112f;
  const Words special = (Words)((half & 0x7C00U) == 0x7C00U) & 0x7F800000U;
  return (Floats)((Words)magnitude | special | ((half & 0x8000U) << 16));
}

struct F16 : Base {
  struct Weights {
    Floats part[2];
  };
  static constexpr int kParts = 2, kXStep = 8;
  static Weights weights(const char* p) {
    const Words pairs = read<Words>(p);
    return {{widen_half(pairs & 0xFFFFU), widen_half(pairs >> 16)}};
  }
};

struct Int8 {
  using Vector = Ints;
  struct Weights {
    Ints part[4];
  };
  static constexpr int kParts = 4, kXStep = 8, kXPart = 2;
  static Vector zero() { return Ints{}; }
  static Vector load(const char* p) { return read<Ints>(p); }
  static void store(char* p, Vector v) { std::memcpy(p, &v, sizeof v); }
  static Weights weights(const char* p) {
    const Ints quads = load(p);
    return {
        {(quads << 24) >> 24, (quads << 8) >> 24, (quads << 16) >> 24, quads >> 24}};  // columns 0 2 1 3, as x has them
  }
  static Vector broadcast(const char* p) {
    std::int16_t value;
    std::memcpy(&value, p, sizeof value);
    return Ints{value, value, value, value};
  }
  static Vector add(Vector sum, Ints w, Ints x) { return sum + w * x; }
};

template <class Op>
constexpr Kernels table(Input input, int k_step) {
  return {.input = input,
          .k_step = k_step,
          .tile = {tile<Op, 1, 8>, tile<Op, 2, 4>, tile<Op, 3, 2>, tile<Op, 4, 2>, tile<Op, 5, 2>, tile<Op, 6, 2>},
          .store = input == Input::s16 ? store_int8 : store_float,
          .convert = input == Input::s16 ? convert_s16 : convert_f32,
          .widen_codes = widen_codes,
          .round_fp8 = round_fp8};
}
constexpr Kernels kF32 = table<F32>(Input::f32, 1), kBf16 = table<Bf16>(Input::f32, 2),
                  kF16 = table<F16>(Input::f32, 2), kInt8 = table<Int8>(Input::s16, 4);

}  // namespace

const Kernels* const kPortableF32 = &kF32;
const Kernels* const kPortableBf16 = &kBf16;
const Kernels* const kPortableF16 = &kF16;
const Kernels* const kPortableInt8 = &kInt8;

}  // namespace rl::cpu::linear
