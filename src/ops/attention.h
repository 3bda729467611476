#pragma once
// attention: softmax(scale q k^T + mask) v for ragged queries over a paged cache. Prefill, decode and mixed chunks are
// shapes of the same op: sequence s has queries cu_q[s] .. cu_q[s+1], the last of them at position kv_len[s] - 1.
// Tokens from cu_q[seqs] on belong to no sequence: their rows of out are not written. What lies in the pages beyond
// kv_len is no part of the result, whatever it is, NaN included.

#include "base/result.h"
#include "ops/kv_layout.h"
#include "tensor/tensor.h"

namespace rl::ops {

struct AttentionArgs {
  TensorRef q;  // f32, bf16 or f16 [tokens, heads, head_dim]; tokens may be strided, a head's elements are consecutive
  KvPages kv;   // of q's type, or f8_e4m3; query head h reads kv head h / (heads / kv_heads)
  KvIndex index;
  bool causal = true;       // a query at position p sees keys at positions <= p
  std::int64_t window = 0;  // > 0: and only the last `window` of them, itself included
  float scale = 0;          // 1 / sqrt(head_dim)
  std::int64_t max_kv = 0;  // an upper bound of kv_len, known when the plan is bound: sizes the workspace
  std::int64_t max_q = 0;   // likewise of a sequence's queries in this step
  TensorRef out;            // f32, bf16 or f16 [tokens, heads, head_dim], contiguous
};

Status validate(const AttentionArgs& args);
// For query i of sequence s the keys it sees are counted: causal and windows reduce both. Reads kv_len and cu_q.
double flops(const AttentionArgs& args);
double bytes(const AttentionArgs& args);

}  // namespace rl::ops
