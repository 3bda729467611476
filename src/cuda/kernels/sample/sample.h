#pragma once
// The next token of each row of logits, as ops/sample.h has it, but for the sums: weights are whole multiples of 2^-40
// of the largest one, so that their sums do not depend on the order they are made in.

#include "cuda/kernels/common/launch.h"
#include "ops/sample.h"

namespace rl::cuda {

struct SampleParams {
  const float* logits;        // [rows, vocab]
  const ops::SampleRow* row;  // [rows]
  const std::int32_t* history;
  std::int32_t* out;  // [rows]
  int rows, vocab;
};

std::int64_t sample_workspace(const SampleParams& params);  // bytes
cudaError_t sample_rows(const SampleParams& params, void* workspace, cudaStream_t stream);

}  // namespace rl::cuda
