#pragma once
// Rows of activations to 8-bit codes with scales, as num/int8.h and num/fp8.h have it: for kernels that make the
// activation, and for the one that only quantises it.

#include "cuda/kernels/common/element.cuh"
#include "cuda/kernels/common/quantize.cuh"
#include "cuda/kernels/linear/linear.h"

namespace rl::cuda {

__device__ inline std::uint32_t magnitude(float x) { return __float_as_uint(x) & 0x7fffffffu; }

// The largest over a block of threads, on each of them. `shared` holds kThreads / 32.
template <int kThreads>
__device__ inline std::uint32_t block_max(std::uint32_t x, std::uint32_t* shared) {
  x = __reduce_max_sync(0xffffffffu, x);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kThreads / 32; ++i) x = max(x, shared[i]);
  return x;
}

// A row that a block of threads holds: piece i of thread t has the kN numbers from column (i * kThreads + t) * kN on;
// cols is a multiple of kN.
template <class T, int kN, int kPieces>
using Pieces = Vector<T, kN>[kPieces];

template <int kThreads, class T, int kN, int kPieces>
__device__ inline std::uint32_t largest_of(const Pieces<T, kN, kPieces>& piece, int cols) {
  std::uint32_t most = 0;
#pragma unroll
  for (int i = 0; i < kPieces; ++i) {
    if ((i * kThreads + static_cast<int>(threadIdx.x)) * kN >= cols) continue;
#pragma unroll
    for (int j = 0; j < kN; ++j) most = max(most, magnitude(to_float(piece[i].at[j])));
  }
  return most;
}

template <class Codes, class T, int kN>
__device__ inline void store_piece(const Vector<T, kN>& piece, float scale, typename Codes::Code* codes) {
  Vector<typename Codes::Code, kN> out;
#pragma unroll
  for (int j = 0; j < kN; ++j) out.at[j] = Codes::code(to_float(piece.at[j]), scale);
  *reinterpret_cast<Vector<typename Codes::Code, kN>*>(codes) = out;
}

// Codes of a row with one scale.
template <class Codes, int kThreads, class T, int kN, int kPieces>
__device__ inline void store_codes(const Pieces<T, kN, kPieces>& piece, int cols, float scale,
                                   typename Codes::Code* codes) {
#pragma unroll
  for (int i = 0; i < kPieces; ++i) {
    const int at = (i * kThreads + static_cast<int>(threadIdx.x)) * kN;
    if (at < cols) store_piece<Codes>(piece[i], scale, codes + at);
  }
}

// Codes and scales of a row, a scale to 128 columns: those of 128 / kN lanes, side by side.
template <class Codes, int kThreads, class T, int kN, int kPieces>
__device__ inline void store_blocked_codes(const Pieces<T, kN, kPieces>& piece, int cols, float* scales,
                                           typename Codes::Code* codes) {
  constexpr int kLanes = kScaleBlock / kN;
  static_assert(kLanes <= 32);
#pragma unroll
  for (int i = 0; i < kPieces; ++i) {
    const int at = (i * kThreads + static_cast<int>(threadIdx.x)) * kN;
    std::uint32_t most = 0;
    if (at < cols) {
#pragma unroll
      for (int j = 0; j < kN; ++j) most = max(most, magnitude(to_float(piece[i].at[j])));
    }
#pragma unroll
    for (int offset = kLanes / 2; offset > 0; offset /= 2) most = max(most, __shfl_xor_sync(0xffffffffu, most, offset));
    const float scale = scale_of<Codes>(most);
    if (at >= cols) continue;
    if (at % kScaleBlock == 0) scales[at / kScaleBlock] = scale;
    store_piece<Codes>(piece[i], scale, codes + at);
  }
}

// The same for a row that nobody holds: number(i) is its i-th number, asked for twice. Any number of columns.
template <class Codes, bool kBlocked, int kThreads, class F>
__device__ inline void store_codes_of(const F& number, int cols, float* scales, typename Codes::Code* codes) {
  __shared__ std::uint32_t shared[kThreads / 32];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if constexpr (kBlocked) {
    for (int block = warp; block < blocks_of(cols); block += kThreads / 32) {
      const int first = block * kScaleBlock, end = min(first + kScaleBlock, cols);
      std::uint32_t most = 0;
      for (int i = first + lane; i < end; i += 32) most = max(most, magnitude(number(i)));
      const float scale = scale_of<Codes>(__reduce_max_sync(0xffffffffu, most));
      if (lane == 0) scales[block] = scale;
      for (int i = first + lane; i < end; i += 32) codes[i] = Codes::code(number(i), scale);
    }
  } else {
    std::uint32_t most = 0;
    for (int i = threadIdx.x; i < cols; i += kThreads) most = max(most, magnitude(number(i)));
    const float scale = scale_of<Codes>(block_max<kThreads>(most, shared));
    if (threadIdx.x == 0) *scales = scale;
    for (int i = threadIdx.x; i < cols; i += kThreads) codes[i] = Codes::code(number(i), scale);
  }
}

}  // namespace rl::cuda
