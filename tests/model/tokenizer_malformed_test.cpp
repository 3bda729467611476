// Files that must be refused, with rule, file, field and offset: cases 41-44, 54-56 and 58 of the list of malformed
// inputs, and what the format itself forbids. And files that look odd but must be accepted.

#include "check/growth.h"
#include "tokenizer_fixture.h"

namespace rl::model::test {
namespace {

// A small tokenizer with one value replaced; the value's text may be any bytes, valid JSON or not.
std::string with(const std::string& pointer, const std::string& value) {
  constexpr const char* kHole = "@HOLE@";
  Json json = small_tokenizer();
  json[Json::json_pointer(pointer)] = kHole;
  std::string text = json.dump();
  const std::string quoted = std::string("\"") + kHole + "\"";
  const std::size_t at = text.find(quoted);
  RL_CHECK(at != std::string::npos);
  return text.replace(at, quoted.size(), value);
}

std::string repeat(const std::string& part, std::size_t times) {
  std::string out;
  for (std::size_t i = 0; i < times; ++i) out += part;
  return out;
}

std::string added(const std::string& fields) { return "[{" + fields + "}]"; }
std::string split(const std::string& regex) {
  return R"({"type":"Split","pattern":{"Regex":)" + Json(regex).dump() + R"(},"behavior":"Isolated","invert":false})";
}

// Each of 60 normalisers doubles an added token, at loading.
std::string growing_tokenizer() {
  Json json = small_tokenizer();
  const Json twice = {{"type", "Replace"}, {"pattern", {{"String", "x"}}}, {"content", "xx"}};
  json["normalizer"] = {{"type", "Sequence"}, {"normalizers", Json(60, twice)}};
  json["added_tokens"] = {{{"id", 9}, {"content", "x"}, {"normalized", true}}};
  return json.dump();
}

struct Malformed {
  const char* name;
  std::string text;
  const char* rule;
  const char* field;  // of the error; null: not looked at
};

const std::vector<Malformed>& malformed() {
  static const std::string kFlags =
      R"(,"single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true)";
  static const std::vector<Malformed> cases = {
      // 41-44: the text itself
      {"empty", "", "json.empty", ""},
      {"not_an_object", "[]", "json.type", ""},
      {"byte_order_mark", "\xEF\xBB\xBF" + small_tokenizer().dump(), "json.bom", nullptr},
      {"invalid_utf8", with("/model/vocab/a", "0,\"\xFF\":9"), "json.utf8", nullptr},
      {"lone_surrogate", with("/model/vocab/a", R"(0,"\ud800":9)"), "json.surrogate", nullptr},
      {"nesting", repeat("[", 100'000), "json.depth", nullptr},
      {"nested_sequences", with("/normalizer", repeat(R"({"type":"Sequence","normalizers":[)", 5000)), "json.depth",
       nullptr},
      {"truncated", small_tokenizer().dump().substr(0, 200), "json.syntax", nullptr},
      {"text_after", small_tokenizer().dump() + "{}", "json.trailing", nullptr},
      {"duplicate_key", with("/normalizer", R"(null,"normalizer":{"type":"NFC"})"), "json.duplicate_key", nullptr},
      {"nan_id", with("/model/vocab/a", "NaN"), "json.number", nullptr},
      {"huge_number", with("/model/vocab/a", "1e999"), "json.number", nullptr},
      // 54: ids
      {"id_of_two_tokens", with("/model/vocab/b", "0"), "tokenizer.duplicate_id", "model.vocab.b"},
      {"token_twice", with("/model/vocab/b", R"(1,"b":20)"), "json.duplicate_key", "model.vocab.b"},
      {"negative_id", with("/model/vocab/b", "-1"), "tokenizer.vocab_id", "model.vocab.b"},
      {"id_beyond_limit", with("/model/vocab/b", "4000000"), "tokenizer.vocab_id", "model.vocab.b"},
      {"id_2_to_31", with("/model/vocab/b", "2147483648"), "tokenizer.vocab_id", "model.vocab.b"},
      {"id_2_to_64", with("/model/vocab/b", "18446744073709551616"), "json.range", "model.vocab.b"},
      {"fractional_id", with("/model/vocab/b", "1.5"), "json.integer", "model.vocab.b"},
      {"minus_zero_id", with("/model/vocab/a", "-0"), "json.integer", "model.vocab.a"},
      {"id_as_text", with("/model/vocab/b", "\"1\""), "json.type", "model.vocab.b"},
      {"no_vocabulary", with("/model/vocab", "{}"), "tokenizer.vocab_empty", "model.vocab"},
      {"vocabulary_as_list", with("/model/vocab", R"([["a",-1.5]])"), "json.type", "model.vocab"},
      {"added_negative_id", with("/added_tokens", added(R"("id":-5,"content":"<s>")" + kFlags)), "tokenizer.vocab_id",
       "added_tokens[0].id"},
      {"added_huge_id", with("/added_tokens", added(R"("id":4294967297,"content":"<s>")" + kFlags)),
       "tokenizer.vocab_id", "added_tokens[0].id"},
      {"added_without_id", with("/added_tokens", added(R"("content":"<s>")" + kFlags)), "json.missing", nullptr},
      {"added_without_content", with("/added_tokens", added(R"("id":9)" + kFlags)), "json.missing", nullptr},
      {"added_id_of_another", with("/added_tokens", added(R"("id":3,"content":"<s>")" + kFlags)),
       "tokenizer.duplicate_id", "added_tokens[0]"},
      {"added_other_id", with("/added_tokens", added(R"("id":9,"content":"a")" + kFlags)), "tokenizer.added_token_id",
       "added_tokens[0]"},
      {"added_id_twice", with("/added_tokens", R"([{"id":9,"content":"x"},{"id":9,"content":"y"}])"),
       "tokenizer.duplicate_id", "added_tokens[1]"},
      {"added_content_twice", with("/added_tokens", R"([{"id":9,"content":"x"},{"id":10,"content":"x"}])"),
       "tokenizer.duplicate_token", "added_tokens[1]"},
      {"added_flag_as_number", with("/added_tokens", added(R"("id":9,"content":"x","lstrip":1)")), "json.type",
       "added_tokens[0].lstrip"},
      {"added_too_long", with("/added_tokens", added(R"("id":9,"content":")" + std::string(5000, 'x') + "\"")),
       "tokenizer.added_token_length", "added_tokens[0]"},
      // 55: merges
      {"merge_of_unknown", with("/model/merges/0", R"("a z")"), "tokenizer.merge_token", "model.merges[0]"},
      {"merge_to_unknown", with("/model/merges/0", R"("a c")"), "tokenizer.merge_token", "model.merges[0]"},
      {"merge_of_one", with("/model/merges/0", R"("ab")"), "tokenizer.merge_arity", "model.merges[0]"},
      {"merge_of_three", with("/model/merges/0", R"("a b c")"), "tokenizer.merge_arity", "model.merges[0]"},
      {"merge_list_of_three", with("/model/merges/0", R"(["a","b","c"])"), "tokenizer.merge_arity", "model.merges[0]"},
      {"merge_list_of_none", with("/model/merges/0", "[]"), "tokenizer.merge_arity", "model.merges[0]"},
      {"merge_twice", with("/model/merges/1", R"("a b")"), "tokenizer.merge_duplicate", "model.merges[1]"},
      {"merge_as_number", with("/model/merges/1", "7"), "json.type", "model.merges[1]"},
      {"merges_missing", with("/model", R"({"type":"BPE","vocab":{"a":0}})"), "json.missing", nullptr},
      // 56: byte tokens
      {"byte_minus_1", with("/model", R"({"byte_fallback":true,"vocab":{"a":0,"<0x-1>":1},"merges":[]})"),
       "tokenizer.byte_token", "model.vocab.<0x-1>"},
      {"byte_zz", with("/model", R"({"byte_fallback":true,"vocab":{"a":0,"<0xZZ>":1},"merges":[]})"),
       "tokenizer.byte_token", "model.vocab.<0xZZ>"},
      {"byte_100", with("/model", R"({"byte_fallback":true,"vocab":{"a":0,"<0x100>":1},"merges":[]})"),
       "tokenizer.byte_token", "model.vocab.<0x100>"},
      // 58: parts that are not implemented, and regular expressions
      {"model_unigram", with("/model/type", R"("Unigram")"), "tokenizer.model_type", "model.type"},
      {"model_wordpiece", with("/model/type", R"("WordPiece")"), "tokenizer.model_type", "model.type"},
      {"normalizer_unknown", with("/normalizer", R"({"type":"Shout"})"), "tokenizer.normalizer_type", "normalizer"},
      {"normalizer_lowercase", with("/normalizer", R"({"type":"Lowercase"})"), "tokenizer.normalizer_type",
       "normalizer"},
      {"normalizer_without_type", with("/normalizer", "{}"), "json.missing", nullptr},
      {"pretokenizer_unknown",
       with("/pre_tokenizer", R"({"type":"Sequence","pretokenizers":[{"type":"UnicodeScripts"}]})"),
       "tokenizer.pre_tokenizer_type", "pre_tokenizer.pretokenizers[0]"},
      {"decoder_unknown", with("/decoder", R"({"type":"CTC"})"), "tokenizer.decoder_type", "decoder"},
      {"post_unknown", with("/post_processor", R"({"type":"Polish"})"), "tokenizer.post_processor_type",
       "post_processor"},
      {"regex_invalid", with("/pre_tokenizer", split("(a")), "tokenizer.regex", "pre_tokenizer.pattern.Regex"},
      {"regex_too_long", with("/pre_tokenizer", split(std::string(4097, 'a'))), "tokenizer.regex_length",
       "pre_tokenizer.pattern.Regex"},
      {"regex_nested", with("/pre_tokenizer", split(repeat("(", 500) + repeat(")", 500))), "tokenizer.regex", nullptr},
      {"regex_explodes", with("/pre_tokenizer", split("((((a{1,99}){1,99}){1,99}){1,99}){1,99}")), "tokenizer.regex",
       nullptr},
      {"regex_recursion", with("/pre_tokenizer", split("(?R)")), "tokenizer.regex_syntax", nullptr},
      {"regex_intersection", with("/pre_tokenizer", split("[a-z&&[^b]]")), "tokenizer.regex_syntax", nullptr},
      {"regex_many",
       with("/pre_tokenizer",
            R"({"type":"Sequence","pretokenizers":[)" + repeat(split("a") + ",", 20) + split("a") + "]}"),
       "tokenizer.regexes", nullptr},
      {"pattern_empty", with("/pre_tokenizer", R"({"type":"Split","pattern":{"String":""},"behavior":"Isolated"})"),
       "tokenizer.pattern", nullptr},
      {"behavior_unknown", with("/pre_tokenizer", R"({"type":"Split","pattern":{"String":"a"},"behavior":"Sideways"})"),
       "tokenizer.split_behavior", "pre_tokenizer.behavior"},
      {"metaspace_two_characters", with("/pre_tokenizer", R"({"type":"Metaspace","replacement":"__"})"),
       "tokenizer.character", "pre_tokenizer.replacement"},
      {"metaspace_scheme", with("/pre_tokenizer", R"({"type":"Metaspace","replacement":"_","prepend_scheme":"last"})"),
       "tokenizer.prepend_scheme", "pre_tokenizer.prepend_scheme"},
      {"metaspace_contradiction",
       with("/pre_tokenizer",
            R"({"type":"Metaspace","replacement":"_","add_prefix_space":false,"prepend_scheme":"always"})"),
       "tokenizer.prepend_scheme", "pre_tokenizer.add_prefix_space"},
      {"parts_many",
       with("/normalizer",
            R"({"type":"Sequence","normalizers":[)" + repeat(R"({"type":"NFC"},)", 70) + R"({"type":"NFC"}]})"),
       "tokenizer.parts", "normalizer"},
      {"growth", growing_tokenizer(), "tokenizer.text_growth", "added_tokens[0]"},
      // What changes ids and is not implemented
      {"dropout", with("/model/dropout", "0.1"), "tokenizer.dropout", "model.dropout"},
      {"subword_prefix", with("/model/continuing_subword_prefix", "\"##\""), "tokenizer.continuing_subword_prefix",
       "model.continuing_subword_prefix"},
      {"word_suffix", with("/model/end_of_word_suffix", "\"</w>\""), "tokenizer.end_of_word_suffix",
       "model.end_of_word_suffix"},
      {"unknown_not_in_vocabulary", with("/model/unk_token", "\"<unk>\""), "tokenizer.unk_token", "model.unk_token"},
      {"version", with("/version", "\"2.0\""), "tokenizer.version", "version"},
      {"template_id",
       with("/post_processor", R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}}],)"
                               R"("special_tokens":{"<s>":{"ids":[77]}}})"),
       "tokenizer.template_id", "post_processor.special_tokens.<s>.ids[0]"},
      {"template_token",
       with("/post_processor", R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}}],)"
                               R"("special_tokens":{}})"),
       "tokenizer.template", "post_processor.single[0].SpecialToken"},
      {"template_other_sequence",
       with("/post_processor", R"({"type":"TemplateProcessing","single":[{"Sequence":{"id":"B"}}],)"
                               R"("special_tokens":{}})"),
       "tokenizer.template", "post_processor.single[0].Sequence"},
      {"model_missing", R"({"version":"1.0"})", "json.missing", nullptr},
  };
  return cases;
}

TEST(MalformedTokenizer, IsRefusedWithRuleFileFieldAndOffset) {
  for (const Malformed& one : malformed()) {
    SCOPED_TRACE(one.name);
    const auto loaded = load_text(one.text);
    ASSERT_FALSE(loaded);
    const Error& error = loaded.error();
    EXPECT_TRUE(error.kind == ErrorKind::invalid_input || error.kind == ErrorKind::unsupported) << error.message();
    EXPECT_EQ(error.rule, one.rule) << error.message();
    EXPECT_EQ(error.file, "made-up/tokenizer.json");
    EXPECT_TRUE(error.offset.has_value()) << error.message();
    EXPECT_LE(error.offset.value_or(0), static_cast<std::int64_t>(one.text.size()));
    if (one.field != nullptr) {
      EXPECT_EQ(error.field, one.field) << error.message();
    }
  }
}

// The tests above mean something only if the file they change is accepted as it stands.
TEST(MalformedTokenizer, TheFileTheyAreMadeOfIsAccepted) {
  ASSERT_VALUE(const Tokenizer tokenizer, load_json(small_tokenizer()));
  ASSERT_VALUE(const std::vector<TokenId> ids, tokenizer.encode("abcde cab", true));
  EXPECT_EQ(ids, (std::vector<TokenId>{7, 8, 5, 2, 6}));
}

// A file cut anywhere or with any byte changed is decided without a crash.
TEST(MalformedTokenizer, DamagedFilesAreDecided) {
  const std::string whole = read_text(fixture_dir("llama3") / "tokenizer.json");
  std::uint64_t state = 11;
  const auto random = [&state] { return state = state * 6364136223846793005u + 1442695040888963407u, state >> 33; };
  for (int i = 0; i < 300; ++i) {
    std::string text = whole;
    if (i % 3 == 0) text.resize(random() % text.size());
    for (int k = 0; i % 3 != 0 && k < 1 + i % 5; ++k) text[random() % text.size()] = static_cast<char>(random());
    const auto loaded = load_text(text);
    if (!loaded) {
      EXPECT_NE(loaded.error().rule, "");
    }
  }
}

// Files of up to 1 MiB (times = 16) made to be slow.
std::vector<std::string> slow_files(int times) {
  Json many_tokens = small_tokenizer(), many_merges = small_tokenizer(), many_added = small_tokenizer();
  for (int i = 0; i < 2'800 * times; ++i) many_tokens["model"]["vocab"]["token" + std::to_string(i)] = 100 + i;
  for (int i = 0; i < 3'400 * times; ++i) many_merges["model"]["merges"].push_back("a b");
  for (int i = 0; i < 900 * times; ++i)
    many_added["added_tokens"].push_back({{"id", 100 + i}, {"content", "<" + std::to_string(i)}, {"normalized", true}});
  Json slow_regexes = small_tokenizer();
  Json splits = Json::array();
  for (int i = 0; i < 16; ++i) splits.push_back(Json::parse(split(repeat("(a|b|\\p{L}+)?", 18 * times))));
  slow_regexes["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", splits}};
  return {many_tokens.dump(), many_merges.dump(), many_added.dump(), slow_regexes.dump()};
}

TEST(MalformedTokenizer, LargeFilesTakeLinearTime) {
  const auto small = slow_files(1), large = slow_files(16);
  for (std::size_t i = 0; i < small.size(); ++i) {
    EXPECT_LT(large[i].size(), std::size_t{1} << 20);
    const auto load = [](const std::string& text) { static_cast<void>(load_text(text).has_value()); };
    EXPECT_LT(check::growth(small[i], large[i], load), check::kLinearGrowth) << i;
  }
}

struct Odd {
  const char* name;
  std::string text;
};
TEST(OddTokenizer, IsAccepted) {
  const std::vector<Odd> cases = {
      {"gaps_between_ids", with("/model/vocab/e", "3999999")},
      {"no_type", with("/model", R"({"vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]})")},
      {"version_line_in_merges", with("/model/merges/2", R"("#version: 0.2")")},
      {"dropout_of_zero", with("/model/dropout", "0.0")},
      {"empty_affixes", with("/model/end_of_word_suffix", R"("","continuing_subword_prefix":"")")},
      {"fields_of_the_future", with("/model/novelty", R"({"x":[1,2]})")},
      {"truncation_and_padding", with("/truncation", R"({"max_length":5,"strategy":"LongestFirst","stride":0})")},
      {"empty_added_token", with("/added_tokens", R"([{"id":9,"content":""}])")},
      {"added_token_of_the_vocabulary", with("/added_tokens", R"([{"id":0,"content":"a","special":true}])")},
      {"added_token_far_away", with("/added_tokens", R"([{"id":900,"content":"<far>","special":true}])")},
      {"no_added_tokens", with("/added_tokens", "null")},
      {"angle_brackets_without_byte_fallback", with("/model/vocab/a", R"(0,"<0xZZ>":30)")},
  };
  for (const Odd& one : cases) {
    SCOPED_TRACE(one.name);
    EXPECT_OK(load_text(one.text));
  }
}

TEST(OddTokenizer, KeepsTheIdsTheFileSays) {
  ASSERT_VALUE(const Tokenizer tokenizer,
               load_text(with("/added_tokens", R"([{"id":900,"content":"<far>","special":true}])")));
  EXPECT_EQ(tokenizer.vocab_size(), 901);
  ASSERT_VALUE(const std::vector<TokenId> ids, tokenizer.encode("a<far>b", false));
  EXPECT_EQ(ids, (std::vector<TokenId>{0, 900, 1}));
  EXPECT_EQ(tokenizer.decode(std::vector<TokenId>{0, 500, 900, 1}, false), "a<far>b");
}

}  // namespace
}  // namespace rl::model::test
