#pragma once
// The forward pass as a list of sites. A site is an operation of the model together with what naturally fuses into it;
// which kernels compute it is the step plan's business. Llama, Mistral, Qwen2 and Qwen3 are one list: they differ in
// fields only (bias, qk_norm, window, head_dim).

#include <cstdint>
#include <vector>

#include "model/config.h"
#include "model/model.h"
#include "quant/packed_weight.h"
#include "tensor/tensor.h"

namespace rl::model {

enum class SiteKind { embed, norm_in, qkv, attention, linear_out, gate_up, head, sample };
const char* name_of(SiteKind kind);

// A tensor that flows between sites, [rows, cols].
struct Value {
  enum class Rows { tokens, head };  // a row per token of the step, or per row that reaches the head
  enum class Type { f32, activation };
  const char* name = "";
  Rows rows = Rows::tokens;
  Type type = Type::activation;  // activation: the engine's precision
  std::int64_t cols = 0;
};

struct Site {
  SiteKind kind = SiteKind::embed;
  const char* name = "";  // "qkv", "attention_out", "down": the same in every layer
  int layer = -1;         // -1: outside the layers
  // Indices into Forward::values; -1: none.
  int in = -1;
  int scratch = -1;  // between the site's ops where they are not fused
  int out = -1;

  quant::PackedWeight weight;                          // embed, qkv, linear_out, gate_up, head
  TensorRef bias;                                      // qkv, linear_out; null: none
  TensorRef norm;                                      // norm_in: f32 [hidden]
  TensorRef q_norm, k_norm;                            // qkv: f32 [head_dim]; null: none
  float eps = 0;                                       // norm_in, qkv
  bool head_rows = false;                              // norm_in: only the rows that reach the head
  bool residual = false;                               // linear_out: adds to out
  std::int64_t heads = 0, kv_heads = 0, head_dim = 0;  // qkv, attention
  std::int64_t window = 0;                             // attention; 0: none
  float scale = 0;                                     // attention
};

struct Forward {
  std::vector<Value> values;
  std::vector<Site> sites;
  int logits = -1;  // the value that head writes
};

// The sites of a model with these weights, in order.
Forward build_forward(const ModelConfig& config, const ModelWeights& weights);

// The shapes of the weights that load_weights would make, with data pointers that must not be read, and
// ModelWeights::bytes and bytes_per_token as they will be: for planning before anything is loaded. Errors: as
// quant::packed_size.
Result<ModelWeights> weight_shapes(const ModelConfig& config, quant::ModelFormat format, quant::Layout layout);

}  // namespace rl::model
