#pragma once
// How tiles lie in shared memory.

namespace rl::cuda {

// Byte of a 16-byte chunk in a tile of rows of kRowBytes, a multiple of 128: chunks are swizzled by the row, so that
// the eight rows an ldmatrix reads lie in different banks.
template <int kRowBytes>
__device__ inline int chunk_at(int row, int chunk) {
  static_assert(kRowBytes % 128 == 0);
  return row * kRowBytes + ((chunk ^ (row % 8)) * 16);
}

}  // namespace rl::cuda
