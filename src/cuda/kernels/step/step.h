#pragma once
// The two ends of a step (ops/step_io.h): kernels that read and write the host's pinned memory, so that a captured step
// consists of kernels alone. A copy beside it would cost the host a call, and a copy within it a change of engines.

#include "cuda/kernels/common/launch.h"

namespace rl::cuda {

struct FeedParams {
  const std::int32_t* host[2];  // aligned to 16 bytes, as out
  std::int32_t* turn;
  const std::int32_t* drawn;  // [rows]
  std::int32_t* out;
  int words;               // a multiple of 4
  int ids_begin, ids_end;  // words that are ids
};
cudaError_t feed_words(const FeedParams& params, cudaStream_t stream);

struct DeliverParams {
  const std::int32_t* drawn;  // [rows]
  const std::int32_t* block;  // its header says which of the two
  std::int32_t* out[2];       // [rows]
  int rows;
};
cudaError_t deliver_words(const DeliverParams& params, cudaStream_t stream);

}  // namespace rl::cuda
