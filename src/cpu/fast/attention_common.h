#pragma once
// What the tile and the streaming kernels of attention share. Compiled once per instruction set: see simd.h.

#include "cpu/fast/attention_kernels.h"
#include "cpu/fast/simd.h"

namespace rl::cpu {
namespace {

// How a cache is read. f32: as it is. widen and half: bf16 and f16 turned into float. dot: bf16 pairs, two products per
// 32-bit lane (vdpbf16ps: products exact, sums in float, subnormals as zero).
enum class Mode { f32, widen, half, dot };

template <Mode M>
struct ElementOf {
  using Type = std::uint16_t;  // bf16, as simd.h has it
};
template <>
struct ElementOf<Mode::f32> {
  using Type = float;
};
template <>
struct ElementOf<Mode::half> {
  using Type = num::fp16;
};
template <Mode M>
inline constexpr bool kWidens = M == Mode::widen || M == Mode::half;

// What one step of a product takes of a row: an element, or a pair of bf16 moved about as a float.
template <Mode M>
struct StepOf : ElementOf<M> {};
template <>
struct StepOf<Mode::dot> {
  using Type = float;
};

// Four bytes of an operand: a float, or a pair of bf16 that are neighbours along the summed dimension.
using Cell = std::uint32_t __attribute__((may_alias));

// A block size as an argument of generic lambdas.
template <int N>
struct Count {
  static constexpr int value = N;
};

// The first and last key a row sees.
struct Visible {
  std::int64_t first = 0, last = 0;
};
inline Visible visible(const AttentionProblem& p, const RowBlock& b, std::int64_t row) {
  const std::int64_t position = b.first_position + row / b.heads;
  return {p.window > 0 ? larger(0, position - p.window + 1) : 0, p.causal ? position : b.kv_len - 1};
}

template <Mode M>
inline constexpr std::int64_t kElementBytes = M == Mode::f32 ? 4 : 2;

inline const char* query_row(const AttentionProblem& p, const RowBlock& b, std::int64_t row) {
  const std::int64_t token = b.first_token + row / b.heads, head = b.first_head + row % b.heads;
  return static_cast<const char*>(p.q) +
         (token * p.q_token_stride + head * p.q_head_stride) * (p.type == Number::f32 ? 4 : 2);
}

// The rows of K or V from key `first` (a multiple of p.step) to the end of its page: [..][head_dim].
inline const char* stored_rows(const AttentionProblem& p, const RowBlock& b, const void* cache, std::int64_t first,
                               std::int64_t element_bytes) {
  const std::int64_t page = p.page_table[b.seq * p.page_table_stride + first / p.page_tokens];
  const std::int64_t row = (page * p.kv_heads + b.kv_head) * p.page_tokens + first % p.page_tokens;
  return static_cast<const char*>(cache) + row * p.head_dim * element_bytes;
}
// The same as elements: where they lie, or, of a cache of codes, p.step rows of values in `widened`.
template <Mode M>
inline const char* page_rows(const AttentionProblem& p, const RowBlock& b, const void* cache, std::int64_t first,
                             Cell* widened) {
  if (!p.code_values) return stored_rows(p, b, cache, first, kElementBytes<M>);
  using Bits = std::conditional_t<M == Mode::f32, std::uint32_t, std::uint16_t>;
  using Element [[gnu::may_alias]] = Bits;
  const auto* const codes = reinterpret_cast<const unsigned char*>(stored_rows(p, b, cache, first, 1));
  const auto* const values = static_cast<const Element*>(p.code_values);
  auto* const to = reinterpret_cast<Element*>(widened);
  for (std::int64_t i = 0; i < p.step * p.head_dim; ++i) to[i] = values[codes[i]];
  return reinterpret_cast<const char*>(widened);
}

// Where a finished row goes: the output tensor, or a partial result that combine() will join.
inline void write_row_part(const AttentionProblem& p, const RowBlock& b, float* partial, std::int64_t row,
                           std::int64_t d, Vec values) {
  const auto write = [&](auto* to) {
    p.head_dim - d >= kLanes ? store(to, values) : store_n(to, values, p.head_dim - d);
  };
  if (partial) return write(partial + row * partial_stride(p.head_dim) + d);
  const std::int64_t token = b.first_token + row / b.heads, head = b.first_head + row % b.heads;
  const std::int64_t at = (token * p.heads + head) * p.head_dim + d;
  if (p.out_type == Number::f32) return write(static_cast<float*>(p.out) + at);
  if (p.out_type == Number::bf16) return write(static_cast<std::uint16_t*>(p.out) + at);
  write(static_cast<num::fp16*>(p.out) + at);
}

inline void combine_parts(const AttentionProblem& p, const RowBlock& b, const float* partials, std::int64_t parts,
                          std::int64_t part_stride) {
  const std::int64_t stride = partial_stride(p.head_dim);
  for (std::int64_t row = 0; row < b.rows(); ++row) {
    const float* const first = partials + row * stride;
    float maximum = -kInfinity;
    for (std::int64_t i = 0; i < parts; ++i) {
      const float m = first[i * part_stride + p.head_dim];
      maximum = m > maximum ? m : maximum;
    }
    // A part that holds no key this row sees has maximum -inf and weight 0.
    Vec sum = splat(0);
    for (std::int64_t i = 0; i < parts; ++i) {
      const float* const part = first + i * part_stride + p.head_dim;
      sum = fma(exp2(splat(part[0] - maximum)), splat(part[1]), sum);
    }
    const Vec inverse = splat(1) / sum;
    for (std::int64_t d = 0; d < p.head_dim; d += kLanes) {
      Vec out = splat(0);
      for (std::int64_t i = 0; i < parts; ++i) {
        const float* const part = first + i * part_stride;
        const Vec weight = exp2(splat(part[p.head_dim] - maximum));
        out = fma(weight, load_n(part + d, smaller(kLanes, p.head_dim - d)), out);
      }
      write_row_part(p, b, nullptr, row, d, out * inverse);
    }
  }
}

}  // namespace
}  // namespace rl::cpu
