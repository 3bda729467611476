// config.json in both spellings. A field that changes what the model computes is read, or refused by name; the rest is
// left alone. What the reference (transformers 4.46 and 5.23) does with each field decides which is which.

#include "model/config.h"
#include "model/config_rope.h"
#include "model/json.h"

namespace rl::model {
namespace {

using json::Type;
using json::Value;

constexpr json::Limits kConfigLimits{.bytes = 16 << 20};

struct FamilyNames {
  Family family;
  std::string_view model_type, architecture;
};
constexpr FamilyNames kFamilies[] = {{Family::llama, "llama", "LlamaForCausalLM"},
                                     {Family::mistral, "mistral", "MistralForCausalLM"},
                                     {Family::qwen2, "qwen2", "Qwen2ForCausalLM"},
                                     {Family::qwen3, "qwen3", "Qwen3ForCausalLM"}};

// Fields of other architectures, or switches of these, that change the result unless they have the neutral value. null
// is neutral for all.
struct Switch {
  std::string_view field, neutral;  // neutral: as JSON spells it
};
constexpr Switch kUnsupported[] = {{"mlp_bias", "false"},
                                   {"add_cross_attention", "false"},
                                   {"is_encoder_decoder", "false"},
                                   {"use_mrope", "false"},
                                   {"use_qk_norm", "false"},
                                   {"partial_rotary_factor", "1"},
                                   {"attn_logit_softcapping", "0"},
                                   {"final_logit_softcapping", "0"},
                                   {"query_pre_attn_scalar", ""},
                                   {"clip_qkv", ""},
                                   {"logit_scale", "1"},
                                   {"logits_scaling", "1"},
                                   {"embedding_multiplier", "1"},
                                   {"residual_multiplier", "1"},
                                   {"attention_multiplier", ""},
                                   {"no_rope_layers", "[]"},
                                   {"num_local_experts", "0"},
                                   {"num_experts", "0"},
                                   {"quantization_config", ""},
                                   {"compression_config", ""}};

std::string supported_families() {
  std::string list;
  for (const FamilyNames& f : kFamilies) list += fmt::format("{}{}", list.empty() ? "" : ", ", f.architecture);
  return list;
}

Result<Family> read_family(const Value& root) {
  std::optional<Family> family;
  if (const auto type = root.get("model_type")) {
    RL_ASSIGN(const std::string_view name, type->string());
    for (const FamilyNames& f : kFamilies)
      if (f.model_type == name) family = f.family;
    if (!family)
      return type->unsupported("config.architecture",
                               fmt::format("model type '{}' is not supported", json::printable(name)),
                               "supported: " + supported_families());
  }
  if (const auto list = root.get("architectures")) {
    RL_TRY(list->expect(Type::array));
    for (const auto [key, entry] : list->items()) {
      RL_ASSIGN(const std::string_view name, entry.string());
      const auto* known = std::find_if(std::begin(kFamilies), std::end(kFamilies),
                                       [&](const FamilyNames& f) { return f.architecture == name; });
      if (known == std::end(kFamilies))
        return entry.unsupported("config.architecture",
                                 fmt::format("architecture '{}' is not supported", json::printable(name)),
                                 "supported: " + supported_families());
      if (family && *family != known->family)
        return entry.invalid("config.conflict", "architectures and model_type name different families",
                             name_of(*family));
      family = known->family;
    }
  }
  if (family) return *family;
  Error missing = root.invalid("json.missing", "the config names no architecture", "model_type or architectures");
  missing.field = "model_type";
  return missing;
}

Status refuse_switches(const Value& root) {
  for (const Switch& s : kUnsupported) {
    const auto value = root.get(s.field);
    if (!value) continue;
    bool neutral = !s.neutral.empty() && value->text() == s.neutral;
    if (value->is(Type::number) && !s.neutral.empty()) neutral = value->number().value() == std::atof(s.neutral.data());
    if (value->is(Type::array)) neutral = value->size() == 0;
    if (!neutral)
      return value->unsupported(fmt::format("config.{}", s.field),
                                fmt::format("'{}' changes the result and is not supported", s.field));
  }
  if (const auto act = root.get("hidden_act")) {
    RL_ASSIGN(const std::string_view name, act->string());
    if (name != "silu" && name != "swish")
      return act->unsupported("config.hidden_act",
                              fmt::format("activation '{}' is not supported", json::printable(name)),
                              "supported: silu");
  }
  return ok();
}

// An integer of config.json; what check_config says of its range is said here with the place.
Result<std::int64_t> size_at(const Value& root, std::string_view key) {
  RL_ASSIGN(const Value value, root.at(key));
  return value.integer();
}

Result<std::int64_t> size_or(const Value& root, std::string_view key, std::int64_t absent, std::int64_t null) {
  const auto value = root.find(key);
  if (!value) return absent;
  if (value->is_null()) return null;
  return value->integer();
}

Result<bool> flag_or(const Value& root, std::string_view key, bool otherwise) {
  const auto value = root.get(key);
  if (!value) return otherwise;
  return value->boolean();
}

Status read_sizes(ModelConfig& c, const Value& root) {
  RL_ASSIGN(c.hidden, size_at(root, "hidden_size"));
  RL_ASSIGN(c.ffn, size_at(root, "intermediate_size"));
  RL_ASSIGN(c.layers, size_at(root, "num_hidden_layers"));
  RL_ASSIGN(c.heads, size_at(root, "num_attention_heads"));
  RL_ASSIGN(c.vocab, size_at(root, "vocab_size"));
  const std::int64_t absent_kv = c.family == Family::mistral ? 8 : c.heads;
  RL_ASSIGN(c.kv_heads, size_or(root, "num_key_value_heads", absent_kv, c.heads));
  const bool named = root.get("head_dim").has_value() || (c.family == Family::qwen3 && !root.find("head_dim"));
  if (!named && c.heads > 0 && c.hidden % c.heads != 0)
    return root.find("hidden_size")
        ->invalid("config.hidden_size", "hidden_size does not divide among the heads",
                  fmt::format("a multiple of {} (num_attention_heads)", c.heads));
  const std::int64_t derived = c.heads > 0 ? c.hidden / c.heads : 0;
  RL_ASSIGN(c.head_dim, size_or(root, "head_dim", c.family == Family::qwen3 ? 128 : derived, derived));
  constexpr std::int64_t kDefaultPositions[] = {2048, 131072, 32768, 32768};
  const std::int64_t positions = kDefaultPositions[static_cast<std::size_t>(c.family)];
  RL_ASSIGN(c.max_positions, size_or(root, "max_position_embeddings", positions, positions));
  if (const auto eps = root.get("rms_norm_eps")) {
    RL_ASSIGN(c.rms_norm_eps, eps->number());
  }
  RL_ASSIGN(c.tied_head, flag_or(root, "tie_word_embeddings", false));
  return ok();
}

// Qwen2 has biases on q, k and v whatever attention_bias says; Llama and Qwen3 have them on q, k, v and o if it is
// true.
Status read_biases(ModelConfig& c, const Value& root) {
  RL_ASSIGN(const bool attention_bias, flag_or(root, "attention_bias", false));
  c.qk_norm = c.family == Family::qwen3;
  c.qkv_bias = c.family == Family::qwen2 || attention_bias;
  c.out_bias = c.family != Family::qwen2 && attention_bias;
  if (c.family == Family::mistral && attention_bias)
    return root.find("attention_bias")
        ->unsupported("config.attention_bias", "a Mistral with attention biases is not supported");
  return ok();
}

// How many layers attend through a window according to layer_types; nullopt if it is not there.
Result<std::optional<std::int64_t>> windowed_layers(const ModelConfig& c, const Value& root) {
  const auto types = root.get("layer_types");
  if (!types) return std::optional<std::int64_t>();
  RL_TRY(types->expect(Type::array));
  std::int64_t windowed = 0;
  for (const auto [key, entry] : types->items()) {
    RL_ASSIGN(const std::string_view name, entry.string());
    if (name == "sliding_attention")
      ++windowed;
    else if (name != "full_attention")
      return entry.unsupported("config.layer_types",
                               fmt::format("layers of type '{}' are not supported", json::printable(name)),
                               "supported: full_attention, sliding_attention");
  }
  if (types->size() != c.layers)
    return types->invalid("config.layer_types", "layer_types does not list every layer once",
                          fmt::format("{} entries (num_hidden_layers)", c.layers));
  if (windowed != 0 && windowed != c.layers)
    return types->unsupported("config.layer_types",
                              "layers with and without a sliding window in one model are not supported");
  return std::optional(windowed);
}

Status read_window(ModelConfig& c, const Value& root) {
  RL_ASSIGN(const std::optional<std::int64_t> listed, windowed_layers(c, root));
  const auto field = root.find("sliding_window");
  const bool qwen = c.family == Family::qwen2 || c.family == Family::qwen3;
  bool used = true;  // use_sliding_window is a word of Qwen's alone
  if (qwen) {
    RL_ASSIGN(used, flag_or(root, "use_sliding_window", false));
  }
  std::int64_t window = !field && c.family != Family::llama ? 4096 : 0;
  if (field && !field->is_null()) {
    RL_ASSIGN(window, field->integer());
    if (used && window < 1)
      return field->invalid("config.sliding_window", "sliding_window must be positive", "at least 1");
  }
  if (!used) window = 0;
  if (qwen && window > 0 && !listed) {
    // transformers: layers from max_window_layers on have the window, those before it see everything.
    RL_ASSIGN(const std::int64_t first, size_or(root, "max_window_layers", 28, 28));
    if (first >= c.layers) window = 0;
    if (first > 0 && first < c.layers)
      return root.find("use_sliding_window")
          ->unsupported("config.sliding_window",
                        fmt::format("a sliding window from layer {} on, but not before, is not supported", first));
  }
  if (c.family == Family::llama && window > 0)
    return field->unsupported("config.sliding_window", "a sliding window in a Llama is not supported",
                              "engines differ on what it means; the Mistral architecture has one");
  if (listed && *listed == 0) {
    if (c.family == Family::mistral && window > 0)
      return root.find("layer_types")
          ->invalid("config.conflict", "layer_types contradicts sliding_window", "sliding_attention");
    window = 0;
  }
  if (listed && *listed > 0 && window == 0)
    return root.find("layer_types")
        ->invalid("config.conflict", "layer_types asks for a window that is not given", "sliding_window");
  c.sliding_window = window;
  return ok();
}

// Token ids: a number, a list of them, or null.
Result<std::vector<TokenId>> read_ids(const Value& root, std::string_view key, std::int64_t vocab) {
  std::vector<TokenId> ids;
  const auto field = root.get(key);
  if (!field) return ids;
  const auto add = [&](const Value& value) -> Status {
    RL_ASSIGN(const std::int64_t id, value.integer());
    if (id < 0 || id >= vocab)
      return value.invalid("config.token_id", "token outside the vocabulary", fmt::format("from 0 to {}", vocab - 1));
    if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(static_cast<TokenId>(id));
    return ok();
  };
  if (!field->is(Type::array)) {
    RL_TRY(add(*field));
  }
  for (const auto [name, value] : field->items()) RL_TRY(add(value));
  return ids;
}

Status read_tokens(ModelConfig& c, const Value& root) {
  RL_ASSIGN(const auto bos, read_ids(root, "bos_token_id", c.vocab));
  if (!c.bos && !bos.empty()) c.bos = bos.front();
  RL_ASSIGN(const auto eos, read_ids(root, "eos_token_id", c.vocab));
  for (const TokenId id : eos)
    if (std::find(c.eos.begin(), c.eos.end(), id) == c.eos.end()) c.eos.push_back(id);
  return ok();
}

// check_config knows fields by name: their place in this file is added to what it says.
Status check_in_file(const ModelConfig& c, const Value& root) {
  Status checked = check_config(c);
  if (checked) return ok();
  Error& error = checked.error();
  std::optional<Value> where = root.find(error.field);
  for (const char* object : {"rope_parameters", "rope_scaling"})
    if (const auto inner = root.get(object); !where && inner) where = inner->find(error.field);
  Error placed = (where ? *where : root).error(error.kind, error.rule, error.what, error.expected);
  if (!where) placed.field = error.field, placed.found = error.found;
  return placed;
}

}  // namespace

Result<ModelConfig> read_config(const FileSet& files) {
  if (!files.exists("config.json"))
    return Error{.kind = ErrorKind::io,
                 .what = "the model has no config.json",
                 .rule = "model.no_config",
                 .file = files.name(),
                 .hint = "a model is a folder of the Hugging Face form: config.json, *.safetensors, tokenizer.json"};
  RL_ASSIGN(const FileView file, files.open("config.json"));
  RL_ASSIGN(const json::Document document, json::Document::parse(file, kConfigLimits));
  const Value root = document.root();
  RL_TRY(root.expect(Type::object));
  ModelConfig c;
  RL_ASSIGN(c.family, read_family(root));
  RL_TRY(refuse_switches(root));
  RL_TRY(read_sizes(c, root));
  RL_TRY(read_biases(c, root));
  RL_TRY(read_rope(c, root));
  RL_TRY(check_in_file(c, root));
  RL_TRY(read_window(c, root));
  RL_TRY(read_tokens(c, root));
  for (const char* key : {"dtype", "torch_dtype"})
    if (const auto type = root.get(key); type && type->is(Type::string)) c.declared_dtype = std::string(type->text());
  if (const auto map = root.get("auto_map"))
    c.warnings.push_back(fmt::format("{}: auto_map names Python code of the model; it is not run here", file.name()));
  if (files.exists("generation_config.json")) {
    RL_ASSIGN(const FileView generation, files.open("generation_config.json"));
    RL_ASSIGN(const json::Document ids, json::Document::parse(generation, kConfigLimits));
    RL_TRY(ids.root().expect(Type::object));
    RL_TRY(read_tokens(c, ids.root()));
  }
  return c;
}

}  // namespace rl::model
