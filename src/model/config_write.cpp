#include "model/config.h"

namespace rl::model {
namespace {

const char* architecture_of(Family family) {
  switch (family) {
    case Family::llama:
      return "LlamaForCausalLM";
    case Family::mistral:
      return "MistralForCausalLM";
    case Family::qwen2:
      return "Qwen2ForCausalLM";
    case Family::qwen3:
      return "Qwen3ForCausalLM";
  }
  return "?";
}

// With a point or an exponent, which transformers wants of a float: "32.0", "1e-05".
std::string real(double value) {
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::string rope_scaling(const RopeConfig& rope) {
  switch (rope.type) {
    case RopeConfig::Type::none:
      return "null";
    case RopeConfig::Type::linear:
      return fmt::format(R"({{"rope_type": "linear", "factor": {}}})", real(rope.factor));
    case RopeConfig::Type::llama3:
      return fmt::format(R"({{"rope_type": "llama3", "factor": {}, "low_freq_factor": {}, "high_freq_factor": {},)"
                         R"( "original_max_position_embeddings": {}}})",
                         real(rope.factor), real(rope.low_freq_factor), real(rope.high_freq_factor),
                         rope.original_max_positions);
  }
  return "null";
}

}  // namespace

std::string write_config(const ModelConfig& c) {
  std::string text = "{\n";
  const auto field = [&](const char* key, const auto& value) { text += fmt::format("  \"{}\": {},\n", key, value); };
  std::string eos;
  for (const TokenId id : c.eos) eos += fmt::format("{}{}", eos.empty() ? "" : ", ", id);
  const bool qwen = c.family == Family::qwen2 || c.family == Family::qwen3;
  field("architectures", fmt::format("[\"{}\"]", architecture_of(c.family)));
  field("model_type", fmt::format("\"{}\"", name_of(c.family)));
  field("hidden_size", c.hidden);
  field("intermediate_size", c.ffn);
  field("num_hidden_layers", c.layers);
  field("num_attention_heads", c.heads);
  field("num_key_value_heads", c.kv_heads);
  field("head_dim", c.head_dim);
  field("vocab_size", c.vocab);
  field("max_position_embeddings", c.max_positions);
  field("hidden_act", "\"silu\"");
  field("rms_norm_eps", real(c.rms_norm_eps));
  field("rope_theta", real(c.rope.theta));
  field("rope_scaling", rope_scaling(c.rope));
  if (qwen) {
    field("use_sliding_window", c.sliding_window > 0);
    field("max_window_layers", c.sliding_window > 0 ? 0 : c.layers);
  }
  if (c.family != Family::llama)
    field("sliding_window", c.sliding_window > 0 ? std::to_string(c.sliding_window) : "null");
  if (c.family == Family::llama || c.family == Family::qwen3) field("attention_bias", c.out_bias);
  field("tie_word_embeddings", c.tied_head);
  field("bos_token_id", c.bos ? std::to_string(*c.bos) : "null");
  field("eos_token_id", c.eos.empty() ? "null" : c.eos.size() == 1 ? eos : "[" + eos + "]");
  field("torch_dtype", fmt::format("\"{}\"", c.declared_dtype.empty() ? "bfloat16" : c.declared_dtype));
  text += "  \"use_cache\": true\n}\n";
  return text;
}

}  // namespace rl::model
