#pragma once
// rope_append: what lies between the qkv product and attention. Per token: RMS norm of each q and k head (Qwen3),
// rotary embedding of q and k (pairs i, i + head_dim/2; Su et al., arXiv 2104.09864), k and v written to the cache,
// rounded to its type once: to e4m3 from the rotated float, to nearest even, saturating, NaN as NaN (num/convert.h).

#include "base/result.h"
#include "ops/kv_layout.h"
#include "tensor/tensor.h"

namespace rl::ops {

struct RopeAppendArgs {
  TensorRef qkv;  // f32, bf16 or f16 [tokens, (heads + 2 kv_heads) * head_dim]: q heads, k heads, v heads; q is changed
                  // in place
  TensorRef positions;  // i32 [tokens], position of the token in its sequence
  TensorRef seq_of;     // i32 [tokens], which sequence (row of the page table)
  TensorRef cos, sin;   // f32 [max_positions, head_dim / 2], with the attention scaling of the rope type multiplied in
  TensorRef q_norm, k_norm;  // f32 [head_dim], or null
  float eps = 1e-6f;         // of the norms
  std::int64_t heads = 0, kv_heads = 0, head_dim = 0;
  KvPages cache;         // of qkv's type, or f8_e4m3; written at positions[t]
  TensorRef page_table;  // i32 [seqs, max_pages]
};

Status validate(const RopeAppendArgs& args);
double flops(const RopeAppendArgs& args);
double bytes(const RopeAppendArgs& args);

}  // namespace rl::ops
