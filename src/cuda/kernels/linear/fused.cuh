#pragma once
// Products that take in the op after them: which rows of W a tile has, so that a pair of outputs meets in one thread,
// and where a turned key or value goes.

#include "cuda/kernels/common/element.cuh"
#include "cuda/kernels/linear/stream.h"
#include "cuda/kernels/rows/row_math.cuh"

namespace rl::cuda {

constexpr int kFusedRows = 16;  // of a tile: two halves of 8, whose results meet where there is an op after the product

// The row of W that is row `group` of half `half` of a tile.
__device__ inline int row_of(const StreamParams& p, StreamOutput output, int tile, int half, int group) {
  switch (output) {
    case StreamOutput::silu:
      return half * (p.product.rows / 2) + tile * 8 + group;
    case StreamOutput::rope: {
      const int tiles = p.rope.head_dim / kFusedRows, head = tile / tiles;
      return head * p.rope.head_dim + half * (p.rope.head_dim / 2) + tile % tiles * 8 + group;
    }
    default:
      return tile * kFusedRows + half * 8 + group;
  }
}

// Where a token's keys and values go, and the angles of its position.
struct Place {
  std::int64_t page, angles;
  int in_page;
};
__device__ inline Place place_of(const RopeAppendParams& r, int token) {
  const int position = r.positions[token];
  return {.page = r.page_table[r.seq_of[token] * r.page_table_stride + position / r.page_tokens],
          .angles = static_cast<std::int64_t>(position) * (r.head_dim / 2),
          .in_page = position % r.page_tokens};
}

// An element of q, k or v, turned with its partner: q stays, k and v go to their page.
template <class T>
__device__ inline void store_rope(const StreamParams& p, const Place& place, int token, int row, int half, float mine,
                                  float other, float c, float s) {
  const RopeAppendParams& r = p.rope;
  const int head = row / r.head_dim, dim = row % r.head_dim;
  float value = mine;
  if (head < r.heads + r.kv_heads) value = half == 0 ? rotated_low(mine, other, c, s) : rotated_high(other, mine, c, s);
  if (head < r.heads) {
    static_cast<T*>(p.product.out)[static_cast<std::int64_t>(token) * p.product.rows + row] = from_float<T>(value);
    return;
  }
  const int kv_head = (head - r.heads) % r.kv_heads;
  const std::int64_t at = ((place.page * r.kv_heads + kv_head) * r.page_tokens + place.in_page) * r.head_dim + dim;
  void* const pages = head < r.heads + r.kv_heads ? r.k_pages : r.v_pages;
  if (r.cache_type == DType::f8_e4m3)
    static_cast<__nv_fp8_e4m3*>(pages)[at] = from_float<__nv_fp8_e4m3>(value);
  else
    static_cast<T*>(pages)[at] = from_float<T>(value);
}

}  // namespace rl::cuda
