#pragma once
// Which keys a query sees, and where they lie.

#include "cuda/kernels/attention/attention.h"

namespace rl::cuda {

// One sequence of a step.
struct Sequence {
  int first_q, queries, kv_len;
  // The position of its query i among its kv_len tokens.
  __device__ int position(int i) const { return kv_len - queries + i; }
};
__device__ inline Sequence sequence_of(const AttentionParams& p, int s) {
  const int first = p.cu_q[s];
  return {first, p.cu_q[s + 1] - first, p.kv_len[s]};
}

// The keys [first, end) that the query at `position` sees.
__device__ inline int first_key(const AttentionParams& p, int position) {
  return p.window > 0 ? max(0, position + 1 - p.window) : 0;
}
__device__ inline int end_key(const AttentionParams& p, int position, int kv_len) {
  return p.causal ? position + 1 : kv_len;
}

// The element where token `token` of a sequence begins, for a kv head. page_shift: log2 of page_tokens.
__device__ inline std::int64_t row_of(const AttentionParams& p, const std::int32_t* pages, int page_shift, int kv_head,
                                      int token) {
  const std::int64_t page = pages[token >> page_shift];
  return (((page * p.kv_heads + kv_head) << page_shift) + (token & (p.page_tokens - 1))) * p.head_dim;
}

__device__ inline int log2_of(int power) { return __ffs(power) - 1; }

constexpr float kLog2e = 1.4426950408889634f;

}  // namespace rl::cuda
