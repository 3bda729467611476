// The golden cases of tests/data/tokenizers and of the demo model: answers of the `tokenizers` library.

#include "tokenizer_fixture.h"

namespace rl::model::test {
namespace {

class Golden : public testing::TestWithParam<std::string> {
 protected:
  static std::vector<TokenId> ids_of(const Json& json) { return json.get<std::vector<TokenId>>(); }
};

TEST_P(Golden, EncodesAndDecodesEveryCase) {
  ASSERT_VALUE(const Tokenizer tokenizer, load_fixture(GetParam()));
  const Json cases = read_json(fixture_dir(GetParam()) / "cases.json");
  ASSERT_GT(cases.size(), 1500u);
  int wrong = 0;
  for (const Json& one : cases) {
    const auto text = one["text"].get<std::string>();
    const auto expected = ids_of(one["ids"]);
    ASSERT_VALUE(const std::vector<TokenId> ids, tokenizer.encode(text, one["add_special_tokens"].get<bool>()));
    const std::string decoded = one.value("decoded", text);
    const std::string skipped = one.value("decoded_skip_special", decoded);
    const bool same =
        ids == expected && tokenizer.decode(expected, false) == decoded && tokenizer.decode(expected, true) == skipped;
    if (!same && ++wrong <= 5)
      ADD_FAILURE() << one.dump() << "\n  ids " << Json(ids).dump() << "\n  decoded "
                    << Json(tokenizer.decode(expected, false)).dump() << "\n  without special "
                    << Json(tokenizer.decode(expected, true)).dump();
  }
  EXPECT_EQ(wrong, 0) << "of " << cases.size();
}

TEST_P(Golden, DecodesWhatNoTextEncodesTo) {
  ASSERT_VALUE(const Tokenizer tokenizer, load_fixture(GetParam()));
  const Json cases = read_json(fixture_dir(GetParam()) / "decode_cases.json");
  ASSERT_GE(cases.size(), 60u);
  for (const Json& one : cases) {
    const auto ids = ids_of(one["ids"]);
    EXPECT_EQ(tokenizer.decode(ids, false), one["decoded"].get<std::string>()) << one.dump();
    EXPECT_EQ(tokenizer.decode(ids, true), one["decoded_skip_special"].get<std::string>()) << one.dump();
  }
}

// Pieces of a stream, joined, are the whole decoding; each is UTF-8 by itself (the JSON library throws otherwise).
TEST_P(Golden, StreamsWhatItDecodes) {
  ASSERT_VALUE(const Tokenizer tokenizer, load_fixture(GetParam()));
  std::vector<std::vector<TokenId>> sequences;
  for (const char* file : {"cases.json", "decode_cases.json"})
    for (const Json& one : read_json(fixture_dir(GetParam()) / file)) sequences.push_back(ids_of(one["ids"]));
  // Shuffled tokens of everything: runs of cut sequences, and ids beyond the vocabulary.
  std::uint64_t state = 7;
  const auto random = [&state] { return state = state * 6364136223846793005u + 1442695040888963407u, state >> 33; };
  for (int i = 0; i < 2000; ++i) {
    std::vector<TokenId> ids(random() % 12);
    for (TokenId& id : ids)
      id = static_cast<TokenId>(random() % static_cast<std::uint64_t>(tokenizer.vocab_size() + 3));
    sequences.push_back(std::move(ids));
  }
  StreamDecoder plain(tokenizer, false), skipping(tokenizer, true);
  for (const auto& ids : sequences)
    for (const bool skip : {false, true}) {
      StreamDecoder& stream = skip ? skipping : plain;
      std::string joined;
      for (TokenId id : ids) {
        const std::string piece = stream.push(id);
        ASSERT_NO_THROW(static_cast<void>(Json(piece).dump())) << Json(ids).dump();
        joined += piece;
      }
      joined += stream.finish();
      ASSERT_EQ(joined, tokenizer.decode(ids, skip)) << Json(ids).dump();
    }
}

TEST_P(Golden, NamesItsTokens) {
  ASSERT_VALUE(const Tokenizer tokenizer, load_fixture(GetParam()));
  const Json file = read_json(fixture_dir(GetParam()) / "tokenizer.json");
  for (const auto& [token, id] : file["model"]["vocab"].items()) {
    EXPECT_EQ(tokenizer.id_of(token), id.get<TokenId>());
    EXPECT_EQ(tokenizer.token_of(id.get<TokenId>()), token);
  }
  TokenId largest = 0;
  for (const Json& added : file["added_tokens"]) {
    const auto id = added["id"].get<TokenId>();
    largest = std::max(largest, id);
    EXPECT_EQ(tokenizer.id_of(added["content"].get<std::string>()), id);
    EXPECT_EQ(tokenizer.token_of(id), added["content"].get<std::string>());
    EXPECT_EQ(tokenizer.is_special(id), added["special"].get<bool>());
  }
  EXPECT_EQ(tokenizer.vocab_size(), largest + 1);
  EXPECT_EQ(tokenizer.token_of(largest + 1), "");
  EXPECT_EQ(tokenizer.token_of(-1), "");
  EXPECT_FALSE(tokenizer.is_special(largest + 1));
  EXPECT_FALSE(tokenizer.id_of("no such token").has_value());
  EXPECT_EQ(tokenizer.fingerprint().size(), 64u);
}

INSTANTIATE_TEST_SUITE_P(Tokenizers, Golden, testing::ValuesIn(fixture_names()), [](const auto& fixture) {
  std::string name = fixture.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST(DemoTokenizer, EncodesItsGoldenTexts) {
  ASSERT_VALUE(const Tokenizer tokenizer, load_fixture("demo"));
  const Json cases = read_json(fixture_dir("demo") / "golden_tokens.json");
  ASSERT_FALSE(cases.empty());
  for (const Json& one : cases) {
    const auto text = one["text"].get<std::string>();
    const auto expected = one["ids"].get<std::vector<TokenId>>();
    ASSERT_VALUE(const std::vector<TokenId> ids, tokenizer.encode(text, false));
    EXPECT_EQ(ids, expected) << text;
    EXPECT_EQ(tokenizer.decode(ids, false), text);
  }
}

// What a word cache remembers must not change the ids of a long text.
TEST(DemoTokenizer, EncodesALongTextAsItsLines) {
  ASSERT_VALUE(const Tokenizer tokenizer, load_fixture("demo"));
  const std::string text = read_text(fixture_dir("demo") / "eval.txt").substr(0, 60000);
  ASSERT_VALUE(const std::vector<TokenId> whole, tokenizer.encode(text, false));
  EXPECT_EQ(tokenizer.decode(whole, false), text);
  // Cut before letters that follow a newline: no piece of the pattern reaches over such a place.
  std::vector<TokenId> joined;
  std::size_t begin = 0;
  for (std::size_t i = 1; i <= text.size(); ++i)
    if (i == text.size() || (text[i - 1] == '\n' && std::isalpha(static_cast<unsigned char>(text[i])))) {
      ASSERT_VALUE(const std::vector<TokenId> ids, tokenizer.encode(text.substr(begin, i - begin), false));
      joined.insert(joined.end(), ids.begin(), ids.end());
      begin = i;
    }
  EXPECT_EQ(joined, whole);
}

TEST(Tokenizer, RefusesTextThatIsNotUtf8) {
  ASSERT_VALUE(const Tokenizer tokenizer, load_fixture("gpt2"));
  for (const std::string bad : {"abc\xFF", "abc\xC3", "abc\xED\xA0\x80", "abc\xC0\x80", "abc\xF4\x90\x80\x80"}) {
    const auto ids = tokenizer.encode(bad, false);
    ASSERT_FALSE(ids);
    EXPECT_EQ(ids.error().rule, "tokenizer.text_utf8");
    EXPECT_EQ(ids.error().offset, 3);
  }
}

TEST(Tokenizer, SaysHowToGetAMissingFile) {
  const auto missing = Tokenizer::load(*folder_files(source_dir() / "tests/data"));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().rule, "tokenizer.missing");
  EXPECT_FALSE(missing.error().hint.empty());
}

}  // namespace
}  // namespace rl::model::test
