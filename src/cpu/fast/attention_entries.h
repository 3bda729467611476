#pragma once
// The table of attention kernels of the instruction set this is compiled for. Included once per instruction set.

#include "cpu/fast/attention_stream.h"
#include "cpu/fast/attention_tile.h"

namespace rl::cpu {
namespace {

#if defined(__AVX512BF16__)
inline constexpr Mode kBf16Mode = Mode::dot;
#else
inline constexpr Mode kBf16Mode = Mode::widen;
#endif

// A mode as an argument of generic lambdas.
template <Mode M>
struct ModeIs {
  static constexpr Mode value = M;
};
// f(ModeIs) for the problem's type.
template <class F>
inline void with_mode(const AttentionProblem& p, F&& f) {
  if (p.type == Number::f32) return f(ModeIs<Mode::f32>{});
  if (p.type == Number::bf16) return f(ModeIs<kBf16Mode>{});
  f(ModeIs<Mode::half>{});
}

void flash_block(const AttentionProblem& p, const RowBlock& b, float* partial, std::int64_t partial_head) {
  with_mode(p, [&](auto mode) {
    constexpr Mode M = decltype(mode)::value;
    is_stream(b.rows()) ? flash_stream<M>(p, b, partial, partial_head) : flash_tile<M>(p, b, partial);
  });
}
void scores_block(const AttentionProblem& p, const RowBlock& b, float* s) {
  with_mode(p, [&](auto mode) {
    constexpr Mode M = decltype(mode)::value;
    is_stream(b.rows()) ? standard_stream_scores<M>(p, b, s) : standard_tile_scores<M>(p, b, s);
  });
}
void softmax_block(const AttentionProblem& p, const RowBlock& b, float* s) {
  with_mode(p, [&](auto mode) {
    constexpr Mode M = decltype(mode)::value;
    is_stream(b.rows()) ? standard_stream_softmax<M>(p, b, s) : standard_tile_softmax<M>(p, b, s);
  });
}
void values_block(const AttentionProblem& p, const RowBlock& b, float* s) {
  with_mode(p, [&](auto mode) {
    constexpr Mode M = decltype(mode)::value;
    is_stream(b.rows()) ? standard_stream_values<M>(p, b, s) : standard_tile_values<M>(p, b, s);
  });
}

inline constexpr AttentionKernels kAttentionEntries{.flash = flash_block,
                                                    .combine = combine_parts,
                                                    .scores = scores_block,
                                                    .softmax = softmax_block,
                                                    .values = values_block};

}  // namespace
}  // namespace rl::cpu
