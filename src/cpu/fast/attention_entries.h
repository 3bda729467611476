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

void flash_block(const AttentionProblem& p, const RowBlock& b, float* partial, std::int64_t partial_head) {
  if (is_stream(b.rows()))
    return p.bf16 ? flash_stream<kBf16Mode>(p, b, partial, partial_head)
                  : flash_stream<Mode::f32>(p, b, partial, partial_head);
  return p.bf16 ? flash_tile<kBf16Mode>(p, b, partial) : flash_tile<Mode::f32>(p, b, partial);
}
void scores_block(const AttentionProblem& p, const RowBlock& b, float* s) {
  if (is_stream(b.rows()))
    return p.bf16 ? standard_stream_scores<kBf16Mode>(p, b, s) : standard_stream_scores<Mode::f32>(p, b, s);
  return p.bf16 ? standard_tile_scores<kBf16Mode>(p, b, s) : standard_tile_scores<Mode::f32>(p, b, s);
}
void softmax_block(const AttentionProblem& p, const RowBlock& b, float* s) {
  if (is_stream(b.rows()))
    return p.bf16 ? standard_stream_softmax<kBf16Mode>(p, b, s) : standard_stream_softmax<Mode::f32>(p, b, s);
  return p.bf16 ? standard_tile_softmax<kBf16Mode>(p, b, s) : standard_tile_softmax<Mode::f32>(p, b, s);
}
void values_block(const AttentionProblem& p, const RowBlock& b, float* s) {
  if (is_stream(b.rows()))
    return p.bf16 ? standard_stream_values<kBf16Mode>(p, b, s) : standard_stream_values<Mode::f32>(p, b, s);
  return p.bf16 ? standard_tile_values<kBf16Mode>(p, b, s) : standard_tile_values<Mode::f32>(p, b, s);
}

inline constexpr AttentionKernels kAttentionEntries{.flash = flash_block,
                                                    .combine = combine_parts,
                                                    .scores = scores_block,
                                                    .softmax = softmax_block,
                                                    .values = values_block};

}  // namespace
}  // namespace rl::cpu
