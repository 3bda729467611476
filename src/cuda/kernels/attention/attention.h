#pragma once
// attention over a paged cache (ops/attention.h).

#include "cuda/kernels/common/launch.h"

namespace rl::cuda {

struct AttentionParams {
  const void* q;                     // [tokens, heads, head_dim], of `type`; tokens q_stride elements apart
  const void *k_pages, *v_pages;     // [pages, kv_heads, page_tokens, head_dim], of `cache_type`
  const std::int32_t* page_table;    // [seqs, page_table_stride]
  const std::int32_t* kv_len;        // [seqs]
  const std::int32_t* cu_q;          // [seqs + 1]
  void* out;                         // [tokens, heads, head_dim], of `out_type`
  DType type, cache_type, out_type;  // cache_type: `type`, or f8_e4m3
  int tokens, seqs, heads, kv_heads, head_dim, pages, page_tokens;
  int max_q, max_kv;  // upper bounds
  std::int64_t q_stride, page_table_stride;
  float scale;
  bool causal;
  int window;                    // 0: none
  bool one_query_apart = false;  // flash leaves sequences with one query to another kernel
};

// FlashAttention-2 (Dao, arXiv 2307.08691) with mma.sync and cp.async. 16-bit types, out of the same; head_dim a
// multiple of 8 up to 256; page_tokens a power of two.
cudaError_t attention_flash(const AttentionParams& params, cudaStream_t stream);
// FlashAttention-3 (Shah et al., arXiv 2407.08608), its 16-bit part: 9.0 alone. As attention_flash; page_tokens 8 or
// more, rows of all pages fewer than 2^31. counters: 2, zeros before and after. Errors: also those of tensor maps
// (common/tensor_map.h).
cudaError_t attention_flash_wgmma(const AttentionParams& params, std::uint32_t* counters, cudaStream_t stream);
// The same as attention_flash of a cache of e4m3 codes; head_dim a multiple of 16.
cudaError_t attention_flash_kv8(const AttentionParams& params, cudaStream_t stream);

// The sequences with one query; the query heads of a kv head are the rows of one mma: heads / kv_heads up to 16. Types
// and sizes as attention_flash, and e4m3 caches with head_dim a multiple of 16 up to 128; steps of kDecodeStep keys or
// more, of all sequences and kv heads together, fewer than 2^31. semaphores: [seqs, kv_heads], zeros before and after.
constexpr int kDecodeStep = 32;
std::int64_t attention_decode_workspace(const AttentionParams& params);  // bytes
cudaError_t attention_decode(const AttentionParams& params, void* workspace, std::uint32_t* semaphores,
                             cudaStream_t stream);

// A warp per query and head, in fp32: any types, head_dim up to 512. The last resort, and what fp32 runs on.
cudaError_t attention_simple(const AttentionParams& params, cudaStream_t stream);

// Standard attention: scores of all queries and keys in memory, softmax over them, weights times values. Types and
// sizes as attention_flash.
std::int64_t attention_standard_workspace(const AttentionParams& params);  // bytes
cudaError_t attention_standard(const AttentionParams& params, void* workspace, cudaStream_t stream);

}  // namespace rl::cuda
