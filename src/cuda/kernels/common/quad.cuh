#pragma once
// The four lanes of a quad, which share a row of a product's results.

#include <cstdint>

namespace rl::cuda {

// Four words of each: word i of lane j becomes word j of lane i. With pairs of 16-bit numbers as words, a lane that has
// two columns of each eight gets all eight of one: 16 bytes to store.
__device__ inline void transpose_quad(std::uint32_t (&word)[4], int lane) {
#pragma unroll
  for (int distance = 1; distance <= 2; distance *= 2)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i & distance) continue;
      std::uint32_t &low = word[i], &high = word[i + distance];
      const bool upper = lane & distance;
      const std::uint32_t other = __shfl_xor_sync(0xffffffffu, upper ? low : high, distance);
      (upper ? low : high) = other;
    }
}

}  // namespace rl::cuda
