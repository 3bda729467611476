#include <array>
#include <utility>

#include <fmt/core.h>

#include "model/tokenizer_json.h"
#include "model/tokenizer_unicode.h"

namespace rl::model {
namespace {

// Compiling 4 KiB of pattern takes milliseconds.
constexpr int kMaxRegexes = 16;

Result<std::string> read_character(const json::Value& object, std::string_view key) {
  RL_ASSIGN(const json::Value value, object.at(key));
  RL_ASSIGN(const std::string_view text, value.string());
  if (text.empty() || utf8_length(text[0]) != text.size())
    return value.invalid("tokenizer.character", "not one character", "a string of one character");
  return std::string(text);
}

// Text that a part puts in; bounded, since it may be put in often.
constexpr std::size_t kMaxContentBytes = 4096;
Result<std::string> read_content(const json::Value& object, std::string_view key) {
  RL_ASSIGN(const json::Value value, object.at(key));
  RL_ASSIGN(const std::string_view text, value.string());
  if (text.size() > kMaxContentBytes)
    return value.invalid("tokenizer.content", "the text is too long",
                         fmt::format("at most {} bytes", kMaxContentBytes));
  return std::string(text);
}

// A {"String": ...} or {"Regex": ...}: one of the two is set.
struct Pattern {
  std::optional<std::string> literal;
  std::optional<Regex> regex;
};

class PartReader {
 public:
  Result<Pattern> pattern(const json::Value& object) {
    RL_ASSIGN(const json::Value value, object.at("pattern"));
    RL_TRY(value.expect(json::Type::object));
    Pattern made;
    if (const auto literal = value.get("String")) {
      RL_ASSIGN(made.literal, literal->string());
      if (made.literal->empty() || made.literal->size() > kMaxRegexBytes)
        return literal->invalid("tokenizer.pattern", "the pattern is empty or too long",
                                fmt::format("1 to {} bytes", kMaxRegexBytes));
      return made;
    }
    RL_ASSIGN(const json::Value text, value.at("Regex"));
    RL_ASSIGN(const std::string_view source, text.string());
    if (++regexes_ > kMaxRegexes)
      return text.invalid("tokenizer.regexes", "too many regular expressions", fmt::format("at most {}", kMaxRegexes));
    auto regex = Regex::compile(source);
    if (!regex) return locate(text, regex.error());
    made.regex = *std::move(regex);
    return made;
  }

 private:
  int regexes_ = 0;
};

Result<PrependScheme> read_prepend_scheme(const json::Value& metaspace) {
  const auto scheme = metaspace.get("prepend_scheme");
  const auto legacy = metaspace.get("add_prefix_space");
  bool add = true;
  if (legacy) {
    RL_ASSIGN(add, legacy->boolean());
  }
  if (!scheme) return add ? PrependScheme::always : PrependScheme::never;
  RL_ASSIGN(const std::string_view name, scheme->string());
  if (!add && name != "never")
    return legacy->invalid("tokenizer.prepend_scheme", "add_prefix_space contradicts prepend_scheme",
                           "prepend_scheme \"never\", or no add_prefix_space");
  if (name == "always") return PrependScheme::always;
  if (name == "first") return PrependScheme::first;
  if (name == "never") return PrependScheme::never;
  return scheme->invalid("tokenizer.prepend_scheme", "not a prepend scheme", "\"always\", \"first\" or \"never\"");
}

Result<SplitBehavior> read_behavior(const json::Value& object) {
  static constexpr std::array<std::pair<std::string_view, SplitBehavior>, 5> kNames{
      {{"Removed", SplitBehavior::removed},
       {"Isolated", SplitBehavior::isolated},
       {"MergedWithPrevious", SplitBehavior::merged_with_previous},
       {"MergedWithNext", SplitBehavior::merged_with_next},
       {"Contiguous", SplitBehavior::contiguous}}};
  RL_ASSIGN(const json::Value value, object.at("behavior"));
  RL_ASSIGN(const std::string_view name, value.string());
  for (const auto& [known, behavior] : kNames)
    if (name == known) return behavior;
  return value.invalid("tokenizer.split_behavior", "not a split behavior",
                       "Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
}

Result<std::unique_ptr<Normalizer>> read_normalizer(const json::Value& value, PartReader& reader) {
  static constexpr std::array<std::pair<std::string_view, UnicodeForm>, 4> kForms{
      {{"NFC", UnicodeForm::nfc}, {"NFD", UnicodeForm::nfd}, {"NFKC", UnicodeForm::nfkc}, {"NFKD", UnicodeForm::nfkd}}};
  RL_ASSIGN(const std::string_view type, read_type(value));
  for (const auto& [name, form] : kForms)
    if (type == name) return make_unicode_normalizer(form);
  if (type == "Prepend") {
    RL_ASSIGN(std::string prefix, read_content(value, "prepend"));
    return make_prepend_normalizer(std::move(prefix));
  }
  if (type == "Strip") {
    RL_ASSIGN(const bool left, read_flag(value, "strip_left", true));
    RL_ASSIGN(const bool right, read_flag(value, "strip_right", true));
    return make_strip_normalizer(left, right);
  }
  if (type == "Replace") {
    RL_ASSIGN(Pattern pattern, reader.pattern(value));
    RL_ASSIGN(std::string content, read_content(value, "content"));
    if (pattern.literal) return make_replace_normalizer(*std::move(pattern.literal), std::move(content));
    return make_replace_normalizer(*std::move(pattern.regex), std::move(content));
  }
  return value.unsupported("tokenizer.normalizer_type",
                           fmt::format("the normalizer {} is not implemented", json::printable(type)));
}

Result<std::unique_ptr<PreTokenizer>> read_split(const json::Value& value, PartReader& reader) {
  SplitOptions options;
  RL_ASSIGN(options.behavior, read_behavior(value));
  RL_ASSIGN(options.invert, read_flag(value, "invert", false));
  RL_ASSIGN(Pattern pattern, reader.pattern(value));
  if (pattern.literal) return make_split(*std::move(pattern.literal), options);
  return make_split(*std::move(pattern.regex), options);
}

Result<std::unique_ptr<PreTokenizer>> read_metaspace(const json::Value& value) {
  MetaspaceOptions options;
  RL_ASSIGN(options.replacement, read_character(value, "replacement"));
  RL_ASSIGN(options.prepend, read_prepend_scheme(value));
  RL_ASSIGN(options.split, read_flag(value, "split", true));
  return make_metaspace(std::move(options));
}

Result<std::unique_ptr<PreTokenizer>> read_pretokenizer(const json::Value& value, bool last, PartReader& reader) {
  RL_ASSIGN(const std::string_view type, read_type(value));
  if (type == "Split") return read_split(value, reader);
  if (type == "Metaspace") return read_metaspace(value);
  if (type == "ByteLevel") {
    ByteLevelOptions options{.last = last};
    RL_ASSIGN(options.add_prefix_space, read_flag(value, "add_prefix_space", true));
    RL_ASSIGN(options.use_regex, read_flag(value, "use_regex", true));
    return make_byte_level(options);
  }
  if (type == "Digits") {
    RL_ASSIGN(const bool single, read_flag(value, "individual_digits", false));
    return make_split(CharacterClass::numeric,
                      {.behavior = single ? SplitBehavior::isolated : SplitBehavior::contiguous});
  }
  if (type == "Punctuation") {
    SplitOptions options;
    if (value.get("behavior")) {
      RL_ASSIGN(options.behavior, read_behavior(value));
    }
    return make_split(CharacterClass::punctuation, options);
  }
  if (type == "Whitespace") {
    RL_ASSIGN(Regex words, Regex::compile(fmt::format(R"([{0}]+|[^{0}\s]+)", kRustWordCharacters)));
    return make_split(std::move(words), {.behavior = SplitBehavior::removed, .invert = true});
  }
  if (type == "WhitespaceSplit") return make_split(CharacterClass::white_space, {.behavior = SplitBehavior::removed});
  if (type == "CharDelimiterSplit") {
    RL_ASSIGN(std::string delimiter, read_character(value, "delimiter"));
    return make_split(std::move(delimiter), {.behavior = SplitBehavior::removed});
  }
  return value.unsupported("tokenizer.pre_tokenizer_type",
                           fmt::format("the pre-tokenizer {} is not implemented", json::printable(type)));
}

Result<DecodeStep> read_decode_step(const json::Value& value, PartReader& reader) {
  RL_ASSIGN(const std::string_view type, read_type(value));
  if (type == "ByteLevel") return DecodeStep(decode_step::ByteLevel{});
  if (type == "ByteFallback") return DecodeStep(decode_step::ByteFallback{});
  if (type == "Fuse") return DecodeStep(decode_step::Fuse{});
  if (type == "Metaspace") {
    decode_step::Metaspace step;
    RL_ASSIGN(step.replacement, read_character(value, "replacement"));
    RL_ASSIGN(const PrependScheme scheme, read_prepend_scheme(value));
    step.drop_in_first = scheme != PrependScheme::never;
    return DecodeStep(std::move(step));
  }
  if (type == "Strip") {
    decode_step::Strip step;
    RL_ASSIGN(step.content, read_character(value, "content"));
    RL_ASSIGN(const json::Value start, value.at("start"));
    RL_ASSIGN(step.start, start.integer(0));
    RL_ASSIGN(const json::Value stop, value.at("stop"));
    RL_ASSIGN(step.stop, stop.integer(0));
    return DecodeStep(std::move(step));
  }
  if (type == "Replace") {
    RL_ASSIGN(Pattern pattern, reader.pattern(value));
    RL_ASSIGN(std::string content, read_content(value, "content"));
    if (pattern.literal) return DecodeStep(decode_step::ReplaceString{*std::move(pattern.literal), std::move(content)});
    return DecodeStep(
        decode_step::ReplaceRegex{std::make_shared<const Regex>(*std::move(pattern.regex)), std::move(content)});
  }
  return value.unsupported("tokenizer.decoder_type",
                           fmt::format("the decoder {} is not implemented", json::printable(type)));
}

}  // namespace

Result<std::vector<std::unique_ptr<Normalizer>>> read_normalizers(const json::Value& normalizer) {
  RL_ASSIGN(const std::vector<json::Value> parts, flatten(normalizer, "normalizers"));
  std::vector<std::unique_ptr<Normalizer>> made;
  PartReader reader;
  for (const json::Value& part : parts) {
    RL_ASSIGN(auto one, read_normalizer(part, reader));
    made.push_back(std::move(one));
  }
  return made;
}

Result<std::vector<std::unique_ptr<PreTokenizer>>> read_pretokenizers(const json::Value& pre_tokenizer) {
  RL_ASSIGN(const std::vector<json::Value> parts, flatten(pre_tokenizer, "pretokenizers"));
  std::vector<std::unique_ptr<PreTokenizer>> made;
  PartReader reader;
  bool byte_level = false;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    RL_ASSIGN(const std::string_view type, read_type(parts[i]));
    if (type == "ByteLevel" && std::exchange(byte_level, true))
      return parts[i].unsupported("tokenizer.byte_level_twice", "a second ByteLevel pre-tokenizer is not implemented");
    RL_ASSIGN(auto one, read_pretokenizer(parts[i], i + 1 == parts.size(), reader));
    made.push_back(std::move(one));
  }
  return made;
}

Result<std::vector<DecodeStep>> read_decoder(const json::Value& decoder) {
  RL_ASSIGN(const std::vector<json::Value> parts, flatten(decoder, "decoders"));
  std::vector<DecodeStep> made;
  PartReader reader;
  for (const json::Value& part : parts) {
    RL_ASSIGN(DecodeStep step, read_decode_step(part, reader));
    made.push_back(std::move(step));
  }
  if (made.empty() && !decoder.is_null()) made.emplace_back(decode_step::Fuse{});  // tokens joined by nothing
  return made;
}

}  // namespace rl::model
