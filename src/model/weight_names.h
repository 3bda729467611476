#pragma once
// The tensors that a model of a given config has, as checkpoints of the Hugging Face form name them.

#include <cstdint>
#include <string>
#include <vector>

#include "model/config.h"

namespace rl::model {

// What a tensor is: load_weights puts it in its place by this, the generator scales its numbers by it.
enum class Role : std::uint8_t { embedding, head, norm, head_norm, bias, projection, residual_projection };

struct WeightSpec {
  std::string name;                 // "model.layers.0.self_attn.q_proj.weight"
  std::vector<std::int64_t> shape;  // [outputs, inputs], or [n] for norms and biases
  Role role = Role::projection;
};

inline constexpr const char* kEmbeddingName = "model.embed_tokens.weight";
inline constexpr const char* kFinalNormName = "model.norm.weight";
inline constexpr const char* kHeadName = "lm_head.weight";

std::string layer_prefix(std::int64_t layer);  // "model.layers.0."

// All of them in the order of use; a tied head is not among them.
std::vector<WeightSpec> weights_of(const ModelConfig& config);

// Buffers that older checkpoints carry along and nothing reads: rotary_emb.inv_freq.
bool is_stale_buffer(const std::string& name);

}  // namespace rl::model
