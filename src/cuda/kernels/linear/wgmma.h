#pragma once
// linear of 8-bit codes for many tokens by Hopper's warpgroup products (wgmma), which take twice the rate of mma.sync.

#include "cuda/kernels/linear/linear.h"

namespace rl::cuda {

// x and W both int8, or both e4m3 with blocks of scales; as linear_tiled, but rows a multiple of 16. Tiles of 256 or of
// 128 tokens: the larger read less of W, the smaller are more. Sums of e4m3 are as exact as 9.0's units make those of a
// block of 128 columns. Compute capability 9.0 alone. Errors: those of the launch; cudaErrorInvalidValue for what it
// does not take; cudaErrorNotSupported where the driver has no tensor maps.
enum class WgmmaTokens { k128 = 128, k256 = 256 };
cudaError_t linear_wgmma(const LinearParams& params, WgmmaTokens tokens, cudaStream_t stream);

}  // namespace rl::cuda
