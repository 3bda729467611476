#pragma once
// linear for the tokens of a batch of sequences: blocks that stay and stream weights, as stream.h, but rows of W are
// shared out so that x is read as few times as can be. With RoPE or the gated activation taken in.

#include "cuda/kernels/linear/stream.h"

namespace rl::cuda {

// Tokens of bf16 or f16 and weights of the same type, or codes of int8 or e4m3 (without blocks) and both scales;
// `input` ready; columns a multiple of as many as are kBatchSliceBytes. Alignment as linear_skinny. 9.0 and newer.
// Errors: those of the launch; cudaErrorInvalidValue for what it does not take; cudaErrorNotSupported where the driver
// has no tensor maps.
constexpr int kBatchSliceBytes = 128;
// At most. With an op taken in no more than this is the fastest for: at 64 the library's product and the op by itself
// took less time on an H200 (docs/performance.md). The sums of more leave no registers for e4m3 as wide numbers.
constexpr int kBatchTokens = 64, kBatchFewTokens = 32;
constexpr int batch_tokens(DType weight, bool alone) {
  return alone && weight != DType::f8_e4m3 ? kBatchTokens : kBatchFewTokens;
}
cudaError_t linear_batch(const StreamParams& params, cudaStream_t stream);

}  // namespace rl::cuda
