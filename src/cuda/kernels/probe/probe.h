#pragma once
// Kernels that find ceilings of the card, and that fill memory with numbers for those that do.

#include "cuda/kernels/common/launch.h"

namespace rl::cuda {

// Reads `bytes` (a multiple of 16) once. `sink` [1]: written only if the bits read are all ones.
cudaError_t read_all(const void* data, std::int64_t bytes, std::uint32_t* sink, cudaStream_t stream);
// Random bits that as 16-bit floats, bf16 or fp16, are small finite numbers of both signs, and as bytes are legal e4m3.
cudaError_t fill_random(void* data, std::int64_t bytes, std::uint32_t seed, cudaStream_t stream);
// Does nothing: what a launch costs.
cudaError_t empty(cudaStream_t stream);

}  // namespace rl::cuda
