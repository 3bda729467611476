#include "engine/prompt.h"

#include <simdjson.h>

#include "base/units.h"

namespace rl::engine {
namespace {

constexpr std::int64_t kMaxConfigBytes = 64 << 20;  // chat templates make these files large, never this large

// What tokenizer_config.json says about the beginning of a text.
struct BosFields {
  std::optional<bool> add_bos_token;
  std::string bos_token, tokenizer_class;  // empty: absent or null
};

Result<BosFields> read_bos_fields(const FileSet& files) {
  BosFields fields;
  const std::string name = "tokenizer_config.json";
  if (!files.exists(name)) return fields;
  RL_ASSIGN(const FileView file, files.open(name));
  const auto broken = [&](std::string found) {
    return Error{.kind = ErrorKind::invalid_input,
                 .what = "tokenizer_config.json is not a JSON object",
                 .rule = "tokenizer_config.json",
                 .file = file.name(),
                 .found = std::move(found)};
  };
  if (std::ssize(file.bytes()) > kMaxConfigBytes) return broken(format_binary_bytes({std::ssize(file.bytes())}));
  simdjson::dom::parser parser;
  simdjson::dom::object root;
  const auto error = parser.parse(simdjson::padded_string(file.text())).get_object().get(root);
  if (error) return broken(simdjson::error_message(error));
  bool flag = false;
  std::string_view text;
  if (!root["add_bos_token"].get_bool().get(flag)) fields.add_bos_token = flag;
  if (!root["tokenizer_class"].get_string().get(text)) fields.tokenizer_class = text;
  if (!root["bos_token"].get_string().get(text) || !root["bos_token"]["content"].get_string().get(text))
    fields.bos_token = text;
  return fields;
}

bool trained_without_bos(std::string_view tokenizer_class) {
  return tokenizer_class.starts_with("GPT2Tokenizer") || tokenizer_class.starts_with("Qwen2Tokenizer");
}

}  // namespace

Result<PromptEncoder> PromptEncoder::make(const model::Tokenizer& tokenizer, const FileSet* files,
                                          const model::ModelConfig& config, BosPolicy policy) {
  PromptEncoder encoder(tokenizer);
  BosFields fields;
  if (files) {
    RL_ASSIGN(fields, read_bos_fields(*files));
  }
  std::optional<TokenId> named;
  if (!fields.bos_token.empty()) named = tokenizer.id_of(fields.bos_token);

  RL_ASSIGN(const std::vector<TokenId> frame, tokenizer.encode("", true));
  switch (policy) {
    case BosPolicy::never:
      encoder.template_ = false;
      break;
    case BosPolicy::always:
      encoder.bos_ = named ? named : config.bos;
      if (!encoder.bos_ && frame.empty())
        return Error{.kind = ErrorKind::invalid_input,
                     .what = "the model's files name no beginning-of-text token",
                     .rule = "prompt.bos",
                     .expected = "bos_token in tokenizer_config.json or bos_token_id in config.json"};
      break;
    case BosPolicy::automatic: {
      const bool unsaid =
          !fields.add_bos_token && named && named == config.bos && !trained_without_bos(fields.tokenizer_class);
      if (frame.empty() && (fields.add_bos_token.value_or(false) || unsaid)) encoder.bos_ = named ? named : config.bos;
      break;
    }
  }
  return encoder;
}

Result<std::vector<TokenId>> PromptEncoder::encode(std::string_view text) const {
  RL_ASSIGN(std::vector<TokenId> ids, tokenizer_->encode(text, template_));
  if (bos_ && (ids.empty() || ids.front() != *bos_)) ids.insert(ids.begin(), *bos_);
  return ids;
}

}  // namespace rl::engine
