#pragma once
// The last step of our own products for sums that a library has made.

#include "cuda/kernels/linear/linear.h"

namespace rl::cuda {

// Sums [params.tokens, rows], i32 or f32, to outputs: scales, bias, the old output, rounding. rows are a multiple of 4.
// x and weight are not read.
cudaError_t finish_sums(const LinearParams& params, const void* sums, bool integers, cudaStream_t stream);

}  // namespace rl::cuda
