#pragma once
// The one loop nest of all panel kernels; an instruction set and a weight format are an Op. Included, like
// linear_common.h, into each linear_<isa>.cpp's own unnamed namespace.
//
// An Op has
//   Vector            accumulators of kLanes rows, 4 bytes each
//   Weights           what a vector of weights becomes: kParts vectors, one per column the multiply-add takes
//   kParts, kXStep    multiply-adds per vector of weights; bytes of x per step, 4 (kXPart) of them per part
//   zero, load, store, weights(p), broadcast(p), add(sum, w, x)

#include "cpu/fast/linear_common.h"

namespace rl::cpu::linear {
namespace {

// kRows rows of x times kVectors vectors of the panel at a time: kRows * kVectors accumulators. Where that is less than
// the panel's width, the steps are walked several times. Accumulator arrays stay in registers only if every loop over
// them is unrolled.
template <class Op, int kRows, int kVectors>
void tile(const Tile& t) {
  constexpr int kWidth = static_cast<int>(sizeof(typename Op::Vector));
  constexpr int kLineVectors = static_cast<int>(kLineBytes) / kWidth;
  static_assert(kLineVectors % kVectors == 0);
  const char* const x = static_cast<const char*>(t.x);
  const std::int64_t x_stride = t.x_stride, steps = t.steps;
  for (int pass = 0; pass < kLineVectors; pass += kVectors) {
    char* const sums = static_cast<char*>(t.sums) + pass * kWidth;
    const char* const panel = static_cast<const char*>(t.panel) + pass * kWidth;
    typename Op::Vector acc[kRows][kVectors];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 16
      for (int c = 0; c < kVectors; ++c)
        acc[r][c] = t.resume ? Op::load(sums + r * kLineBytes + c * kWidth) : Op::zero();
    const auto step = [&](std::int64_t k) __attribute__((always_inline)) {
      typename Op::Weights w[kVectors];
#pragma GCC unroll 16
      for (int c = 0; c < kVectors; ++c) w[c] = Op::weights(panel + k * kLineBytes + c * kWidth);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
        for (int part = 0; part < Op::kParts; ++part) {
          const auto value = Op::broadcast(x + r * x_stride + k * Op::kXStep + part * Op::kXPart);
#pragma GCC unroll 16
          for (int c = 0; c < kVectors; ++c) acc[r][c] = Op::add(acc[r][c], w[c].part[part], value);
        }
      }
    };
    std::int64_t k = 0;
    if (pass == 0) {
      const char* const ahead = static_cast<const char*>(t.prefetch);
      const std::int64_t pace = t.prefetch_pace, half = pace / 2;
      for (std::int64_t line = 0; ahead && k < steps; ++k, line += pace) {
        __builtin_prefetch(ahead + (line >> 8) * 64, 0, 2);
        __builtin_prefetch(ahead + ((line + half) >> 8) * 64, 0, 2);
        step(k);
      }
    }
    for (; k < steps; ++k) step(k);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 16
      for (int c = 0; c < kVectors; ++c) Op::store(sums + r * kLineBytes + c * kWidth, acc[r][c]);
  }
}

}  // namespace
}  // namespace rl::cpu::linear
