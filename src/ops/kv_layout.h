#pragma once
// The paged KV cache as kernels see it. One pool of pages serves all sequences; each layer has its own K and V pages.

#include <cstdint>

#include "tensor/tensor.h"

namespace rl::ops {

inline constexpr std::int64_t kPageTokens = 64;  // tokens of a page

// K and V of one layer. Token t of sequence s lies in page page_table[s][t / page_tokens], row t % page_tokens. Both
// are of the activations' type, or e4m3 codes of the values themselves, with no scale: what lies beyond 448 is 448
// (docs/decisions/0004-fp8-kv-cache.md).
struct KvPages {
  TensorRef k;  // [pages, kv_heads, page_tokens, head_dim]
  TensorRef v;  // [pages, kv_heads, page_tokens, head_dim]
};

// Which pages belong to which sequence, and how much of them is in use.
struct KvIndex {
  TensorRef page_table;  // i32 [seqs, max_pages]; entries past the sequence's last page are not read
  TensorRef kv_len;      // i32 [seqs], tokens in the cache, this step's included
  TensorRef cu_q;        // i32 [seqs + 1], first query token of each sequence; cu_q[seqs] = tokens in use
};

}  // namespace rl::ops
