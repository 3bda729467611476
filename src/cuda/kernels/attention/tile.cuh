#pragma once
// Tiles of keys and values from the pages of a sequence to shared memory.

#include "cuda/kernels/attention/paged.cuh"
#include "cuda/kernels/common/element.cuh"
#include "cuda/kernels/common/smem.cuh"
#include "cuda/ptx/ptx.h"

namespace rl::cuda {

// The pages of one kv head of one sequence.
struct PagedHead {
  const std::int32_t* pages;
  int page_shift, kv_head, kv_len;

  __device__ int page_of(int token) const { return pages[min(token, kv_len - 1) >> page_shift]; }
};
__device__ inline PagedHead paged_head(const AttentionParams& p, int s, int kv_head, int kv_len) {
  return {p.page_table + s * p.page_table_stride, log2_of(p.page_tokens), kv_head, kv_len};
}

// Asks for tokens [kv, kv + kTokens) of each tensor: rows of kHeadDim elements, swizzled, at `to`; zeros past head_dim
// and kv_len. `page` is that of token kv. Nothing is kept in registers from one call to the next.
template <class T, int kHeadDim, int kTokens, int kThreads, int kTensors>
__device__ inline void load_tokens(const AttentionParams& p, const PagedHead& head, int kv, int page,
                                   const void* const (&tensors)[kTensors], const std::uint32_t (&to)[kTensors]) {
  constexpr int kRowBytes = 2 * kHeadDim, kRowChunks = kRowBytes / 16;
  constexpr int kStep = kThreads / kRowChunks;  // rows between a thread's chunks, which are all in one column
  static_assert(kThreads % kRowChunks == 0 && kTokens % kStep == 0);
  const int row = ptx::thread_again() / kRowChunks, chunk = ptx::thread_again() % kRowChunks;
  const auto at = [&](int i) {
    return kStep % 8 == 0 ? chunk_at<kRowBytes>(row, chunk) + i * kRowBytes : chunk_at<kRowBytes>(row + i, chunk);
  };
  if (p.head_dim == kHeadDim && p.page_tokens >= kTokens && kv + kTokens <= head.kv_len) {
    // One piece of memory.
    const std::int64_t from = (((static_cast<std::int64_t>(page) * p.kv_heads + head.kv_head) << head.page_shift) +
                               (kv & (p.page_tokens - 1)) + row) *
                                  kHeadDim +
                              chunk * 8;
    const T* first[kTensors];
#pragma unroll
    for (int t = 0; t < kTensors; ++t) first[t] = static_cast<const T*>(tensors[t]) + from;
#pragma unroll
    for (int i = 0; i < kTokens; i += kStep)
#pragma unroll
      for (int t = 0; t < kTensors; ++t) ptx::cp_async_16(to[t] + at(i), first[t] + i * kHeadDim);
    return;
  }
#pragma unroll 1
  for (int i = 0; i < kTokens; i += kStep) {
    const int token = kv + row + i;
    const bool valid = chunk * 8 < p.head_dim && token < head.kv_len;
    const std::int64_t from = valid ? row_of(p, head.pages, head.page_shift, head.kv_head, token) + chunk * 8 : 0;
#pragma unroll
    for (int t = 0; t < kTensors; ++t) ptx::cp_async_16(to[t] + at(i), static_cast<const T*>(tensors[t]) + from, valid);
  }
}

// Asks for queries [first, first + kRows) of a head of a sequence likewise, zeros from `rows` on.
template <class T, int kHeadDim, int kRows, int kThreads>
__device__ inline void load_queries(const AttentionParams& p, std::int64_t first, int head, int rows,
                                    std::uint32_t to) {
  constexpr int kRowBytes = 2 * kHeadDim, kRowChunks = kRowBytes / 16, kStep = kThreads / kRowChunks;
  static_assert(kThreads % kRowChunks == 0 && kRows % kStep == 0);
  const int row = ptx::thread_again() / kRowChunks, chunk = ptx::thread_again() % kRowChunks;
  const T* const q = static_cast<const T*>(p.q) + first * p.q_stride + head * p.head_dim;
#pragma unroll
  for (int i = 0; i < kRows; i += kStep) {
    const bool valid = row + i < rows && chunk * 8 < p.head_dim;
    ptx::cp_async_16(to + chunk_at<kRowBytes>(row + i, chunk), valid ? q + (row + i) * p.q_stride + chunk * 8 : q,
                     valid);
  }
}

// Where a lane of ldmatrix_x4 finds its row of a 16 x 16 tile that begins at row 0 of a tile: chunks 2 k and 2 k + 1 of
// the rows are at this offset ^ 32 k, rows 16 i further on at + 16 i rows. Tiles begin at multiples of a row's bytes.
template <int kRowBytes>
__device__ inline int fragment_a(int lane) {  // the A operand; B's too, transposed, from rows of k
  return chunk_at<kRowBytes>(lane % 16, lane / 16);
}
template <int kRowBytes>
__device__ inline int fragment_b(int lane) {  // the B operand from rows of n
  return chunk_at<kRowBytes>(lane % 8 + lane / 16 * 8, lane / 8 % 2);
}

// This warp's results, a part of kRowTiles x 16 rows of `rows` valid ones, through its own rows of shared memory, so
// that a store is 16 bytes of a row. `value(m, d, i)` is element i of accumulator tile m, d.
template <class T, int kHeadDim, int kRowTiles, class Value>
__device__ inline void store_rows(const AttentionParams& p, std::int64_t first, int head, int rows, unsigned char* smem,
                                  int lane, const Value& value) {
  constexpr int kRowBytes = 2 * kHeadDim, kRowChunks = kRowBytes / 16;
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int d = 0; d < kHeadDim / 8; ++d)
        *reinterpret_cast<std::uint32_t*>(smem + chunk_at<kRowBytes>(m * 16 + lane / 4 + 8 * half, d) +
                                          4 * (lane % 4)) =
            pack_pair<T>(value(m, d, 2 * half), value(m, d, 2 * half + 1));
  __syncwarp();
  T* const to = static_cast<T*>(p.out) + (first * p.heads + head) * p.head_dim;
#pragma unroll 4
  for (int at = lane; at < 16 * kRowTiles * kRowChunks; at += 32) {
    const int row = at / kRowChunks, chunk = at % kRowChunks;
    if (row < rows && chunk * 8 < p.head_dim)
      *reinterpret_cast<uint4*>(to + static_cast<std::int64_t>(row) * p.heads * p.head_dim + chunk * 8) =
          *reinterpret_cast<const uint4*>(smem + chunk_at<kRowBytes>(row, chunk));
  }
}

}  // namespace rl::cuda
