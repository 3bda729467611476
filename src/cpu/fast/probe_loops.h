#pragma once
// Loops that find ceilings, for an Op of the including file; in an unnamed namespace there, as linear_tile.h.

#include <cstring>

#include "cpu/fast/probes.h"

namespace rl::cpu {
namespace {

// Op: Vector, Operand, operand(), hide(operand&), keep(vector&), add(sum, a, b). kChains accumulators hide the latency
// of the multiply-add and fill most of the registers.
template <class Op, int kChains>
void multiply_add_loop(std::int64_t rounds) {
  typename Op::Vector sums[kChains];
#pragma GCC unroll 32
  for (int c = 0; c < kChains; ++c) {
    sums[c] = Op::zero();
    Op::hide(sums[c]);  // equal sums would be computed once
  }
  typename Op::Operand a = Op::operand(), b = Op::operand();
  Op::hide(b);
  for (std::int64_t i = 0; i < rounds; ++i) {
    Op::hide(a);  // the compiler must not see that a does not change: nothing is folded or hoisted
#pragma GCC unroll 32
    for (int c = 0; c < kChains; ++c) sums[c] = Op::add(sums[c], a, b);
  }
#pragma GCC unroll 32
  for (int c = 0; c < kChains; ++c) Op::hide(sums[c]);
}

// All bytes OR-ed together, 8 vectors at a time; the rest byte by byte.
template <class Vector>
std::uint64_t read_loop(const void* data, std::int64_t bytes) {
  constexpr int kVectors = 8;
  constexpr std::int64_t kStep = kVectors * static_cast<std::int64_t>(sizeof(Vector));
  const char* const p = static_cast<const char*>(data);
  Vector sums[kVectors] = {};
  std::int64_t i = 0;
  for (; i + kStep <= bytes; i += kStep)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      Vector value;
      std::memcpy(&value, p + i + v * static_cast<std::int64_t>(sizeof(Vector)), sizeof value);
      sums[v] |= value;
    }
  for (int v = 1; v < kVectors; ++v) sums[0] |= sums[v];
  std::uint64_t words[sizeof(Vector) / 8], all = 0;
  std::memcpy(words, &sums[0], sizeof words);
  for (const std::uint64_t word : words) all |= word;
  for (; i < bytes; ++i) all |= static_cast<unsigned char>(p[i]);
  return all;
}

template <int kBytes>
struct ReadVector {
  using Type __attribute__((vector_size(kBytes), may_alias)) = std::uint64_t;
};

}  // namespace
}  // namespace rl::cpu
