#pragma once
// From a prompt's text to its token ids, the beginning-of-text token included where the model was trained with one.

#include <optional>
#include <string_view>
#include <vector>

#include "model/config.h"
#include "model/tokenizer.h"

namespace rl::engine {

enum class BosPolicy { automatic, always, never };

// Encodes a prompt as transformers does: the tokenizer's own template decides about special tokens. Only where the
// template adds nothing and the model's files still say that texts begin with a token, it is put in front:
//   - tokenizer_config.json has add_bos_token true (llama.cpp reads the same key), or
//   - it has no add_bos_token, names a bos_token that is the config's bos_token_id, and its class is not one whose
//     models are trained without (GPT2Tokenizer, Qwen2Tokenizer).
// add_bos_token false, or bos_token null (Qwen), adds nothing. A prompt that begins with the token gets no second one.
// The demo model is the case in point: trained on documents that begin with it, with a tokenizer that has no template.
class PromptEncoder {
 public:
  // files: the model's folder; null where there is none. Errors: invalid_input if tokenizer_config.json is not JSON, or
  // BosPolicy::always without a token to add.
  static Result<PromptEncoder> make(const model::Tokenizer& tokenizer, const FileSet* files,
                                    const model::ModelConfig& config, BosPolicy policy = BosPolicy::automatic);

  Result<std::vector<TokenId>> encode(std::string_view text) const;
  std::optional<TokenId> bos() const { return bos_; }  // put in front; null: the template's business, or none

 private:
  explicit PromptEncoder(const model::Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}
  const model::Tokenizer* tokenizer_;
  bool template_ = true;  // apply the tokenizer's template
  std::optional<TokenId> bos_;
};

}  // namespace rl::engine
