#pragma once
// The ops that work on rows one by one: embed, rms_norm, rope_append, silu_mul. All move bytes; each reads its inputs
// once (rms_norm twice, the second time from cache) and writes its outputs once.

#include "cuda/kernels/common/launch.h"

namespace rl::cuda {

struct EmbedParams {
  const std::int32_t* ids;  // [tokens]
  const void* table;        // [vocab, row_elements], of `type`
  const float* scales;      // [vocab] for int8
  float* out;               // [tokens, hidden]
  DType type;
  int tokens, hidden;
  std::int64_t row_elements;
};
cudaError_t embed_rows(const EmbedParams& params, cudaStream_t stream);

// Where an output's codes go in its place, as num/int8.h and num/fp8.h have it.
struct CodesOut {
  void* codes;    // [rows, cols], of `type`: i8 or f8_e4m3; null: the output itself is written
  float* scales;  // [rows], or blocked [rows, ceil(cols / 128)]
  DType type;
  bool blocked;
};

struct RmsNormParams {
  const float* x;            // [.., hidden]
  const float* weight;       // [hidden]
  const std::int32_t* rows;  // [n] or null
  void* out;                 // [n, hidden], of `type`: f32, bf16, f16; null if codes are written
  DType type;
  int n, hidden;
  float eps;
  CodesOut coded;
};
cudaError_t rms_norm_rows(const RmsNormParams& params, cudaStream_t stream);

struct RopeAppendParams {
  void* qkv;                      // [tokens, (heads + 2 kv_heads) * head_dim], of `type`
  const std::int32_t* positions;  // [tokens]
  const std::int32_t* seq_of;     // [tokens]
  const float *cos, *sin;         // [positions, head_dim / 2]
  const float *q_norm, *k_norm;   // [head_dim] or null
  void *k_pages, *v_pages;        // [pages, kv_heads, page_tokens, head_dim], of `cache_type`
  const std::int32_t* page_table;
  DType type, cache_type;  // cache_type: `type`, or f8_e4m3
  int tokens, heads, kv_heads, head_dim, page_tokens;
  std::int64_t page_table_stride;
  float eps;
};
cudaError_t rope_append_rows(const RopeAppendParams& params, cudaStream_t stream);

struct SiluMulParams {
  const void* gate_up;  // [tokens, 2 ffn], of `type`
  void* out;            // [tokens, ffn]; null if codes are written
  DType type;
  int tokens, ffn;
  CodesOut coded;
};
cudaError_t silu_mul_rows(const SiluMulParams& params, cudaStream_t stream);

}  // namespace rl::cuda
