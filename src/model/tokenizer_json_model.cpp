#include <fmt/core.h>

#include "model/tokenizer_json.h"

namespace rl::model {
namespace {

// "<0x" something ">" that is not a byte, in a vocabulary whose byte tokens have that form.
bool is_bad_byte_token(std::string_view token) {
  if (token.size() > 10 || !token.starts_with("<0x") || !token.ends_with(">")) return false;
  const std::string_view digits = token.substr(3, token.size() - 4);
  const auto is_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f'); };
  return digits.size() != 2 || !is_hex(digits[0]) || !is_hex(digits[1]);
}

Result<Vocabulary> read_vocabulary(const json::Value& vocab, bool byte_fallback) {
  RL_TRY(vocab.expect(json::Type::object));
  if (vocab.size() == 0) return vocab.invalid("tokenizer.vocab_empty", "the vocabulary is empty", "at least one token");
  Vocabulary made;
  made.reserve(static_cast<std::size_t>(vocab.size()), 0);
  for (const auto [token, value] : vocab.items()) {
    RL_ASSIGN(const std::int64_t id, value.integer());
    if (id < 0 || id >= kMaxVocabulary)
      return value.invalid("tokenizer.vocab_id", "the id of a token is out of range",
                           fmt::format("0 to {}", kMaxVocabulary - 1));
    if (byte_fallback && is_bad_byte_token(token))
      return value.invalid("tokenizer.byte_token", fmt::format("'{}' is not a byte token", json::printable(token)),
                           "<0x00> to <0xFF>");
    switch (made.add(token, static_cast<TokenId>(id))) {
      case Vocabulary::Added::yes:
        break;
      case Vocabulary::Added::duplicate_token:
        return value.invalid("tokenizer.duplicate_token", "the token occurs twice", "each token once");
      case Vocabulary::Added::duplicate_id:
        return value.invalid("tokenizer.duplicate_id", fmt::format("id {} belongs to two tokens", id),
                             "one token for one id");
    }
  }
  return made;
}

struct MergePair {
  std::string_view left, right;
};

// ["a", "b"], or "a b" as files before version 0.20 of the library have it.
Result<MergePair> read_merge(const json::Value& value) {
  const auto wrong = [&] {
    return value.invalid("tokenizer.merge_arity", "a merge does not have two parts",
                         "\"left right\" or [\"left\", \"right\"]");
  };
  if (value.is(json::Type::array)) {
    if (value.size() != 2) return wrong();
    MergePair pair;
    auto item = value.items().begin();
    RL_ASSIGN(pair.left, (*item).value.string());
    ++item;
    RL_ASSIGN(pair.right, (*item).value.string());
    return pair;
  }
  RL_ASSIGN(const std::string_view text, value.string());
  const std::size_t space = text.find(' ');
  if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos) return wrong();
  return MergePair{text.substr(0, space), text.substr(space + 1)};
}

Result<MergeTable> read_merges(const json::Value& merges, const Vocabulary& vocabulary) {
  RL_TRY(merges.expect(json::Type::array));
  MergeTable made;
  made.reserve(static_cast<std::size_t>(merges.size()));
  std::string joined;
  std::uint32_t rank = 0;
  for (const auto [key, value] : merges.items()) {
    if (value.is(json::Type::string)) {
      RL_ASSIGN(const std::string_view text, value.string());
      if (text.starts_with("#version")) continue;  // the first line of a merges.txt
    }
    RL_ASSIGN(const MergePair pair, read_merge(value));
    joined.assign(pair.left).append(pair.right);
    const auto left = vocabulary.find(pair.left), right = vocabulary.find(pair.right), both = vocabulary.find(joined);
    if (!left || !right || !both) {
      const std::string_view missing = !left ? pair.left : !right ? pair.right : joined;
      return value.invalid(
          "tokenizer.merge_token",
          fmt::format("a merge needs the token '{}', which the vocabulary lacks", json::printable(missing)),
          "tokens of the vocabulary");
    }
    if (!made.add(*left, *right, {.rank = rank++, .id = *both}))
      return value.invalid("tokenizer.merge_duplicate", "a pair of tokens merges twice", "each pair once");
  }
  return made;
}

Status refuse_unsupported(const json::Value& model) {
  if (const auto dropout = model.get("dropout")) {
    RL_ASSIGN(const double probability, dropout->number());
    if (probability != 0)
      return dropout->unsupported("tokenizer.dropout", "BPE dropout, which makes ids random, is not implemented");
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (const auto affix = model.get(key)) {
      RL_ASSIGN(const std::string_view text, affix->string());
      if (!text.empty())
        return affix->unsupported(fmt::format("tokenizer.{}", key), fmt::format("a {} is not implemented", key));
    }
  return ok();
}

}  // namespace

Result<Bpe> read_bpe(const json::Value& model) {
  RL_TRY(model.expect(json::Type::object));
  if (const auto type = model.get("type")) {
    RL_ASSIGN(const std::string_view name, type->string());
    if (name != "BPE")
      return type->unsupported("tokenizer.model_type",
                               fmt::format("the tokenizer model {} is not implemented", json::printable(name)),
                               "byte-level BPE and SentencePiece-style BPE are");
  }
  RL_TRY(refuse_unsupported(model));
  BpeOptions options;
  RL_ASSIGN(options.fuse_unknown, read_flag(model, "fuse_unk", false));
  RL_ASSIGN(options.byte_fallback, read_flag(model, "byte_fallback", false));
  RL_ASSIGN(options.ignore_merges, read_flag(model, "ignore_merges", false));
  RL_ASSIGN(const json::Value vocab, model.at("vocab"));
  RL_ASSIGN(Vocabulary vocabulary, read_vocabulary(vocab, options.byte_fallback));
  RL_ASSIGN(const json::Value merges, model.at("merges"));
  RL_ASSIGN(MergeTable table, read_merges(merges, vocabulary));
  if (const auto unknown = model.get("unk_token")) {
    RL_ASSIGN(const std::string_view token, unknown->string());
    options.unknown = vocabulary.find(token);
    if (!options.unknown)
      return unknown->invalid("tokenizer.unk_token", "the unknown token is not in the vocabulary",
                              "a token of the vocabulary, or null");
  }
  return Bpe(std::move(vocabulary), std::move(table), options);
}

}  // namespace rl::model
