#include "model/tokenizer_json.h"

#include <unordered_set>

#include <fmt/core.h>

#include "base/log.h"
#include "base/sha256.h"

namespace rl::model {
namespace {

constexpr std::size_t kMaxParts = 64;
// The search for added tokens takes time in proportion to the longest of them.
constexpr std::size_t kMaxAddedTokenBytes = 4096;

Result<AddedToken> read_added_token(const json::Value& value) {
  RL_TRY(value.expect(json::Type::object));
  AddedToken token;
  RL_ASSIGN(const json::Value id, value.at("id"));
  RL_ASSIGN(const std::int64_t number, id.integer());
  if (number < 0 || number >= kMaxVocabulary)
    return id.invalid("tokenizer.vocab_id", "the id of an added token is out of range",
                      fmt::format("0 to {}", kMaxVocabulary - 1));
  token.id = static_cast<TokenId>(number);
  RL_ASSIGN(token.content, read_string(value, "content"));
  if (token.content.size() > kMaxAddedTokenBytes)
    return value.invalid("tokenizer.added_token_length", "the added token is too long",
                         fmt::format("at most {} bytes", kMaxAddedTokenBytes));
  RL_ASSIGN(token.special, read_flag(value, "special", false));
  RL_ASSIGN(token.single_word, read_flag(value, "single_word", false));
  RL_ASSIGN(token.lstrip, read_flag(value, "lstrip", false));
  RL_ASSIGN(token.rstrip, read_flag(value, "rstrip", false));
  RL_ASSIGN(token.normalized, read_flag(value, "normalized", !token.special));
  return token;
}

// Checks a token against the vocabulary and those before it.
class AddedTokenChecks {
 public:
  explicit AddedTokenChecks(const Vocabulary& vocabulary) : vocabulary_(vocabulary) {}

  Status check(const AddedToken& token, const json::Value& value) {
    const auto in_vocabulary = vocabulary_.find(token.content);
    if (in_vocabulary && *in_vocabulary != token.id)
      return value.invalid("tokenizer.added_token_id",
                           fmt::format("the added token '{}' has id {} here and {} in the vocabulary",
                                       json::printable(token.content), token.id, *in_vocabulary),
                           "one id for one token");
    const bool taken = vocabulary_.has(token.id) && vocabulary_.token(token.id) != token.content;
    if (taken || !ids_.insert(token.id).second)
      return value.invalid("tokenizer.duplicate_id", fmt::format("id {} belongs to two tokens", token.id),
                           "one token for one id");
    const bool new_content = contents_.insert(token.content).second;
    // Two tokens that normalise to the same text could not be told apart.
    const bool new_wanted = (token.normalized ? normalized_ : raw_).insert(token.normalized_content).second;
    if (!new_content || !new_wanted)
      return value.invalid("tokenizer.duplicate_token",
                           fmt::format("the added token '{}' occurs twice", json::printable(token.content)),
                           "each token once");
    return ok();
  }

 private:
  const Vocabulary& vocabulary_;
  std::unordered_set<TokenId> ids_;
  std::unordered_set<std::string> contents_, normalized_, raw_;
};

Status read_added_tokens(const json::Value& list, TokenizerParts& parts) {
  if (list.is_null()) return ok();
  RL_TRY(list.expect(json::Type::array));
  std::vector<AddedToken> tokens;
  AddedTokenChecks checks(parts.bpe.vocabulary());
  for (const auto [key, value] : list.items()) {
    RL_ASSIGN(AddedToken token, read_added_token(value));
    if (token.content.empty()) continue;  // the library leaves them out
    token.normalized_content = token.content;
    if (token.normalized) {
      NormalizedText text{.text = token.content};
      if (const Status done = normalize(parts, text); !done) return locate(value, done.error());
      token.normalized_content = std::move(text.text);
      if (token.normalized_content.empty())
        return value.invalid("tokenizer.added_token_empty", "the normaliser leaves nothing of the added token",
                             "a content that the normaliser keeps");
    }
    RL_TRY(checks.check(token, value));
    parts.end_id = std::max<std::int64_t>(parts.end_id, token.id + 1);
    tokens.push_back(std::move(token));
  }
  parts.added = AddedTokens(std::move(tokens));
  return ok();
}

Result<TokenId> read_token_id(const json::Value& value, const TokenizerParts& parts) {
  RL_ASSIGN(const std::int64_t id, value.integer());
  const bool in_range = id >= 0 && id < parts.end_id;
  if (!in_range ||
      (!parts.bpe.vocabulary().has(static_cast<TokenId>(id)) && parts.added.find(static_cast<TokenId>(id)) == nullptr))
    return value.invalid("tokenizer.template_id", "the post-processor adds an id that no token has",
                         "an id of the vocabulary or of an added token");
  return static_cast<TokenId>(id);
}

Result<TemplatePart> read_template_part(const json::Value& part, const json::Value& processor,
                                        const TokenizerParts& parts) {
  if (const auto sequence = part.get("Sequence")) {
    RL_ASSIGN(const std::string_view id, read_string(*sequence, "id"));
    if (id != "A")
      return sequence->invalid("tokenizer.template", "the template for one text names another sequence", "\"A\"");
    return TemplatePart{.is_text = true};
  }
  RL_ASSIGN(const json::Value special, part.at("SpecialToken"));
  RL_ASSIGN(const std::string_view name, read_string(special, "id"));
  RL_ASSIGN(const json::Value tokens, processor.at("special_tokens"));
  const auto token = tokens.get(name);
  if (!token)
    return special.invalid("tokenizer.template", "the template names a token that special_tokens lacks",
                           "a key of special_tokens");
  RL_ASSIGN(const json::Value ids, token->at("ids"));
  RL_TRY(ids.expect(json::Type::array));
  TemplatePart made;
  for (const auto [key, value] : ids.items()) {
    RL_ASSIGN(const TokenId id, read_token_id(value, parts));
    made.ids.push_back(id);
  }
  return made;
}

Result<TemplatePart> read_pair(const json::Value& processor, std::string_view key, const TokenizerParts& parts) {
  RL_ASSIGN(const json::Value pair, processor.at(key));  // ["</s>", 2]
  RL_TRY(pair.expect(json::Type::array));
  if (pair.size() != 2) return pair.invalid("tokenizer.template", "not a token with its id", "[token, id]");
  auto items = pair.items();
  auto second = ++items.begin();
  RL_ASSIGN(const TokenId id, read_token_id((*second).value, parts));
  return TemplatePart{.ids = {id}};
}

Status read_post_processor(const json::Value& field, TokenizerParts& parts) {
  RL_ASSIGN(const std::vector<json::Value> processors, flatten(field, "processors"));
  for (const json::Value& processor : processors) {
    RL_ASSIGN(const std::string_view type, read_type(processor));
    if (type == "ByteLevel") continue;  // moves offsets only
    if (!parts.post.empty())
      return processor.unsupported("tokenizer.post_processor",
                                   "two post-processors that add tokens are not implemented");
    if (type == "TemplateProcessing") {
      RL_ASSIGN(const json::Value single, processor.at("single"));
      RL_TRY(single.expect(json::Type::array));
      for (const auto [key, value] : single.items()) {
        RL_ASSIGN(TemplatePart part, read_template_part(value, processor, parts));
        parts.post.push_back(std::move(part));
      }
    } else if (type == "BertProcessing" || type == "RobertaProcessing") {
      RL_ASSIGN(TemplatePart cls, read_pair(processor, "cls", parts));
      RL_ASSIGN(TemplatePart sep, read_pair(processor, "sep", parts));
      parts.post = {std::move(cls), TemplatePart{.is_text = true}, std::move(sep)};
    } else {
      return processor.unsupported("tokenizer.post_processor_type",
                                   fmt::format("the post-processor {} is not implemented", json::printable(type)));
    }
  }
  if (parts.post.empty()) parts.post.push_back({.is_text = true});
  return ok();
}

void mention_ignored(const json::Value& root, const std::string& file) {
  for (const char* key : {"truncation", "padding"})
    if (root.get(key)) log::warning("{}: '{}' is not applied: texts are neither cut nor padded", file, key);
}

}  // namespace

Error locate(const json::Value& value, const Error& inner) {
  Error error = value.error(inner.kind, inner.rule, inner.what, inner.expected, inner.hint);
  if (!inner.found.empty()) error.found = inner.found;
  return error;
}

Result<bool> read_flag(const json::Value& object, std::string_view key, bool otherwise) {
  const auto value = object.get(key);
  return value ? value->boolean() : otherwise;
}

Result<std::string_view> read_string(const json::Value& object, std::string_view key) {
  RL_ASSIGN(const json::Value value, object.at(key));
  return value.string();
}

Result<std::string_view> read_type(const json::Value& object) {
  RL_TRY(object.expect(json::Type::object));
  return read_string(object, "type");
}

Result<std::vector<json::Value>> flatten(const json::Value& value, std::string_view list_key) {
  std::vector<json::Value> flat, open;
  if (!value.is_null()) open.push_back(value);
  while (!open.empty()) {
    const json::Value part = open.back();
    open.pop_back();
    RL_ASSIGN(const std::string_view type, read_type(part));
    if (type != "Sequence") {
      flat.push_back(part);
    } else {
      RL_ASSIGN(const json::Value list, part.at(list_key));
      RL_TRY(list.expect(json::Type::array));
      std::vector<json::Value> items;
      if (list.size() <= static_cast<std::int64_t>(kMaxParts))
        for (const auto [key, item] : list.items()) items.push_back(item);
      else
        items.assign(kMaxParts + 1, part);
      open.insert(open.end(), items.rbegin(), items.rend());
    }
    if (flat.size() + open.size() > kMaxParts)
      return value.invalid("tokenizer.parts", "too many parts in one sequence", fmt::format("at most {}", kMaxParts));
  }
  return flat;
}

Result<TokenizerParts> read_tokenizer(const FileView& file) {
  RL_ASSIGN(const json::Document document, json::Document::parse(file));
  const json::Value root = document.root();
  RL_TRY(root.expect(json::Type::object));
  if (const auto version = root.get("version")) {
    RL_ASSIGN(const std::string_view text, version->string());
    if (text != "1.0") return version->unsupported("tokenizer.version", "the format's version is not known");
  }
  mention_ignored(root, file.name());

  TokenizerParts parts;
  parts.fingerprint = sha256_hex(document.text());
  RL_ASSIGN(const json::Value model, root.at("model"));
  RL_ASSIGN(parts.bpe, read_bpe(model));
  parts.end_id = parts.bpe.vocabulary().end_id();
  const auto with = [&](const char* key, auto read) -> Status {
    if (const auto value = root.get(key)) return read(*value);
    return ok();
  };
  RL_TRY(with("normalizer", [&](const json::Value& value) -> Status {
    RL_ASSIGN(parts.normalizers, read_normalizers(value));
    return ok();
  }));
  RL_TRY(with("added_tokens", [&](const json::Value& value) { return read_added_tokens(value, parts); }));
  RL_TRY(with("pre_tokenizer", [&](const json::Value& value) -> Status {
    RL_ASSIGN(parts.pretokenizers, read_pretokenizers(value));
    return ok();
  }));
  // Byte-level pieces are words already.
  if (parts.pretokenizers.empty() || !parts.pretokenizers.back()->makes_raw_bytes()) parts.bpe.prepare_cuts();
  RL_TRY(with("decoder", [&](const json::Value& value) -> Status {
    RL_ASSIGN(parts.decoder, read_decoder(value));
    return ok();
  }));
  RL_TRY(with("post_processor", [&](const json::Value& value) { return read_post_processor(value, parts); }));
  if (parts.decoder.empty()) parts.decoder.emplace_back(decode_step::Spaces{});
  if (parts.post.empty()) parts.post.push_back({.is_text = true});
  return parts;
}

}  // namespace rl::model
