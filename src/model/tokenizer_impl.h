#pragma once
// The parts that a tokenizer.json is made of, once read.

#include <memory>
#include <string>
#include <vector>

#include "model/added_tokens.h"
#include "model/bpe.h"
#include "model/normalizer.h"
#include "model/pretokenizer.h"
#include "model/tokenizer.h"
#include "model/tokenizer_decoder.h"

namespace rl::model {

// Longer texts are refused: positions inside a piece are 32-bit numbers, and byte alphabet and marks make texts longer.
inline constexpr std::size_t kMaxTextBytes = std::size_t{1} << 30;

// One part of the post-processor's template: the text's ids, or ids that add_special_tokens adds.
struct TemplatePart {
  bool is_text = false;
  std::vector<TokenId> ids;
};

struct TokenizerParts {
  std::vector<std::unique_ptr<Normalizer>> normalizers;
  std::vector<std::unique_ptr<PreTokenizer>> pretokenizers;
  Bpe bpe;
  AddedTokens added;
  std::vector<TemplatePart> post;  // for one text
  std::vector<DecodeStep> decoder;
  std::int64_t end_id = 0;  // largest id + 1
  std::string fingerprint;
};

struct Tokenizer::Impl : TokenizerParts {};

Status normalize(const TokenizerParts& parts, NormalizedText& text);

// The ids of a text without the post-processor's. text: valid UTF-8. Errors: unsupported, rule tokenizer.regex_steps.
Status encode_text(const TokenizerParts& parts, std::string_view text, std::vector<TokenId>& out);

// Reads tokenizer.json. Errors as Tokenizer::load.
Result<TokenizerParts> read_tokenizer(const FileView& file);

}  // namespace rl::model
