#include "model/weight_names.h"

namespace rl::model {

std::string layer_prefix(std::int64_t layer) { return fmt::format("model.layers.{}.", layer); }

std::vector<WeightSpec> weights_of(const ModelConfig& c) {
  std::vector<WeightSpec> list;
  const std::int64_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  list.push_back({kEmbeddingName, {c.vocab, c.hidden}, Role::embedding});
  for (std::int64_t layer = 0; layer < c.layers; ++layer) {
    const std::string prefix = layer_prefix(layer);
    const auto add = [&](const char* name, std::vector<std::int64_t> shape, Role role) {
      list.push_back({prefix + name, std::move(shape), role});
    };
    add("input_layernorm.weight", {c.hidden}, Role::norm);
    add("self_attn.q_proj.weight", {q, c.hidden}, Role::projection);
    add("self_attn.k_proj.weight", {kv, c.hidden}, Role::projection);
    add("self_attn.v_proj.weight", {kv, c.hidden}, Role::projection);
    if (c.qkv_bias) {
      add("self_attn.q_proj.bias", {q}, Role::bias);
      add("self_attn.k_proj.bias", {kv}, Role::bias);
      add("self_attn.v_proj.bias", {kv}, Role::bias);
    }
    if (c.qk_norm) {
      add("self_attn.q_norm.weight", {c.head_dim}, Role::head_norm);
      add("self_attn.k_norm.weight", {c.head_dim}, Role::head_norm);
    }
    add("self_attn.o_proj.weight", {c.hidden, q}, Role::residual_projection);
    if (c.out_bias) add("self_attn.o_proj.bias", {c.hidden}, Role::bias);
    add("post_attention_layernorm.weight", {c.hidden}, Role::norm);
    add("mlp.gate_proj.weight", {c.ffn, c.hidden}, Role::projection);
    add("mlp.up_proj.weight", {c.ffn, c.hidden}, Role::projection);
    add("mlp.down_proj.weight", {c.hidden, c.ffn}, Role::residual_projection);
  }
  list.push_back({kFinalNormName, {c.hidden}, Role::norm});
  if (!c.tied_head) list.push_back({kHeadName, {c.vocab, c.hidden}, Role::head});
  return list;
}

bool is_stale_buffer(const std::string& name) { return name.ends_with("rotary_emb.inv_freq"); }

}  // namespace rl::model
