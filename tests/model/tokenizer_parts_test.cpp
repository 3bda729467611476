// Parts of tokenizer.json one by one. Expected values: the `tokenizers` library 0.23.3 on the same file, unless a
// comment says otherwise.

#include "model/bpe.h"
#include "model/pretokenizer.h"
#include "tokenizer_fixture.h"

namespace rl::model::test {
namespace {

using Ids = std::vector<TokenId>;
using Texts = std::vector<std::string>;

Texts cut(const PreTokenizer& pretokenizer, std::string_view text) {
  Pieces pieces;
  pieces.text = text;
  pieces.pieces = {{0, text.size(), true}};
  EXPECT_OK(pretokenizer.apply(pieces));
  Texts out;
  for (const Piece& piece : pieces.pieces) out.emplace_back(pieces[piece]);
  return out;
}

Texts cut(std::string_view regex, std::string_view text, SplitOptions options = {}) {
  auto compiled = Regex::compile(regex);
  EXPECT_TRUE(compiled) << regex;
  return compiled ? cut(*make_split(*std::move(compiled), options), text) : Texts{};
}

TEST(Split, KnowsEveryBehavior) {
  const auto by = [](SplitBehavior behavior, bool invert = false) {
    return cut("-", "the-final--countdown-", {.behavior = behavior, .invert = invert});
  };
  EXPECT_EQ(by(SplitBehavior::removed), (Texts{"the", "final", "countdown"}));
  EXPECT_EQ(by(SplitBehavior::isolated), (Texts{"the", "-", "final", "-", "-", "countdown", "-"}));
  EXPECT_EQ(by(SplitBehavior::merged_with_previous), (Texts{"the-", "final-", "-", "countdown-"}));
  EXPECT_EQ(by(SplitBehavior::merged_with_next), (Texts{"the", "-final", "-", "-countdown", "-"}));
  EXPECT_EQ(by(SplitBehavior::contiguous), (Texts{"the", "-", "final", "--", "countdown", "-"}));
  EXPECT_EQ(by(SplitBehavior::removed, true), (Texts{"-", "-", "-", "-"}));
}

TEST(Split, CutsByCharacterClass) {
  EXPECT_EQ(cut(*make_split(CharacterClass::numeric, {}), "a12½Ⅷb"), (Texts{"a", "1", "2", "½", "Ⅷ", "b"}));
  EXPECT_EQ(cut(*make_split(CharacterClass::numeric, {.behavior = SplitBehavior::contiguous}), "a12b٣"),
            (Texts{"a", "12", "b", "٣"}));
  EXPECT_EQ(cut(*make_split(CharacterClass::punctuation, {}), "a$b«c»_x"),
            (Texts{"a", "$", "b", "«", "c", "»", "_", "x"}));
  EXPECT_EQ(cut(*make_split(CharacterClass::white_space, {.behavior = SplitBehavior::removed}), " a\u3000b\u180Ec "),
            (Texts{"a", "b\u180Ec"}));
  EXPECT_EQ(cut(*make_split(std::string("ab"), {}), "xababy"), (Texts{"x", "ab", "ab", "y"}));
}

// What Oniguruma and PCRE2 read differently; the expected cuts are Oniguruma's.
TEST(Regex, SpeaksOnigurumasDialect) {
  EXPECT_EQ(cut(R"(\s+)", "a \u180E\u00A0b"), (Texts{"a", " ", "\u180E", "\u00A0", "b"}));
  EXPECT_EQ(cut(R"([^\s]+)", "a\u180Eb c"), (Texts{"a\u180Eb", " ", "c"}));
  EXPECT_EQ(cut(R"(\S+)", "a\u180Eb c"), (Texts{"a\u180Eb", " ", "c"}));
  EXPECT_EQ(cut(R"(\w+)", "e\u0301x-\u203Fz"),
            (Texts{"e\u0301x", "-", "\u203Fz"}));           // marks and connectors are of a word
  EXPECT_EQ(cut(R"(\w+)", "a½+⅓"), (Texts{"a½", "+⅓"}));    // fractions of Latin-1 are, others are not
  EXPECT_EQ(cut(R"([\w]+)", "a½+⅓"), (Texts{"a", "½+⅓"}));  // and inside brackets none is
  EXPECT_EQ(cut(R"(\W+)", "e\u0301x- z"), (Texts{"e\u0301x", "- ", "z"}));
  EXPECT_EQ(cut(R"(\b)", "ab-c"), (Texts{"ab", "-", "c"}));
  EXPECT_EQ(cut(R"(\h+)", "xBEEFx"), (Texts{"x", "BEEF", "x"}));  // hexadecimal digits; horizontal space in PCRE2
  EXPECT_EQ(cut(R"(\p{N}{1,3}+)", "12345678x"), (Texts{"12345678", "x"}));  // repeated; possessive in PCRE2
  EXPECT_EQ(cut(R"(a{,2})", "aaab"), (Texts{"aa", "a", "b"}));
  EXPECT_EQ(cut(R"(\p{Han}+)", "中、文"), (Texts{"中", "、", "文"}));  // the script, not its extensions
  EXPECT_EQ(cut(R"(\p{^L}+)", "ab12"), (Texts{"ab", "12"}));
  EXPECT_EQ(cut("(?m:a.b)", "xa\nbx"), (Texts{"x", "a\nb", "x"}));  // Ruby's m: a dot matches a newline
  EXPECT_EQ(cut("^a", "a\nab"), (Texts{"a", "\n", "a", "b"}));      // always the beginning of a line
  EXPECT_EQ(cut(R"(\u0041|\x{42})", "ABC"), (Texts{"A", "B", "C"}));
  EXPECT_EQ(cut(R"([[:alpha:]]+)", "aé1"), (Texts{"aé", "1"}));
  EXPECT_EQ(cut(R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]+)", "a[]{}b"), (Texts{"a", "[]{}", "b"}));
  EXPECT_EQ(cut("(?i:'s|'t)", "it'S'ſ"), (Texts{"it", "'S", "'ſ"}));
  EXPECT_EQ(cut("x*", "axb"), (Texts{"a", "x", "b"}));  // an empty match right after a match does not count
  EXPECT_EQ(cut("a{b", "xa{b"), (Texts{"x", "a{b"}));
}

TEST(Regex, RefusesByNameWhatItWouldReadOtherwise) {
  for (const char* pattern : {"[a[bc]]", "[a&&b]", R"((a)\1)", "(?R)", "(?~a)", "(*FAIL)", R"(\K)", R"(\X)", R"(\R)",
                              R"(\Qa)", R"([\W])", "a(?i)b", "(?s:a)", "[[:punct:]]"}) {
    const auto compiled = Regex::compile(pattern);
    ASSERT_FALSE(compiled) << pattern;
    EXPECT_EQ(compiled.error().rule, "tokenizer.regex_syntax") << pattern;
  }
  for (const char* pattern : {"(", "[a", "*a", R"(\p{NoSuchThing})", "a{2,1}", "\\"}) {
    const auto compiled = Regex::compile(pattern);
    ASSERT_FALSE(compiled) << pattern;
    EXPECT_EQ(compiled.error().rule, "tokenizer.regex") << pattern;
  }
}

// A repeated group needs more stack than PCRE2's machine code has by default; a hopeless pattern must end.
TEST(Regex, SurvivesDeepAndHopelessSearches) {
  EXPECT_EQ(cut("(?:a|b|cd)+(?!x)", std::string(300'000, 'a')).size(), 1u);
  auto hopeless = Regex::compile("(?:a+)+[bc]");
  ASSERT_TRUE(hopeless);
  Pieces pieces;
  const std::string text(40, 'a');
  pieces.text = text;
  pieces.pieces = {{0, text.size(), true}};
  const Status done = make_split(*std::move(hopeless), {})->apply(pieces);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().rule, "tokenizer.regex_steps");
}

// Merging by array and by heap must agree: the same word short, and inside a long piece.
TEST(Bpe, MergesLongPiecesAsShortOnes) {
  Vocabulary vocabulary;
  MergeTable merges;
  TokenId next = 0;
  for (const char* token : {"a", "b", "c", "|"}) ASSERT_EQ(vocabulary.add(token, next++), Vocabulary::Added::yes);
  std::uint64_t state = 3;
  const auto random = [&state] { return state = state * 6364136223846793005u + 1442695040888963407u, state >> 33; };
  std::uint32_t rank = 0;
  while (rank < 60) {  // random merges of what is there, so that later ranks also feed earlier ones
    const auto pick = [&] { return static_cast<TokenId>(random() % static_cast<std::uint64_t>(next)); };
    const TokenId left = pick(), right = pick();
    if (left == 3 || right == 3) continue;
    const std::string joined = std::string(vocabulary.token(left)).append(vocabulary.token(right));
    if (joined.size() > 8) continue;
    if (!vocabulary.find(joined)) {
      ASSERT_EQ(vocabulary.add(joined, next++), Vocabulary::Added::yes);
    }
    if (merges.add(left, right, {.rank = rank, .id = *vocabulary.find(joined)})) ++rank;
  }
  const Bpe bpe(std::move(vocabulary), std::move(merges), {});
  BpeScratch scratch;
  std::string long_piece;
  Ids joined, one, all;
  for (int i = 0; i < 300; ++i) {
    std::string word;
    for (std::uint64_t n = 1 + random() % 40; n > 0; --n) word += static_cast<char>('a' + random() % 3);
    long_piece += word + "|";
    one.clear();
    bpe.encode(word, scratch, one);
    joined.insert(joined.end(), one.begin(), one.end());
    joined.push_back(3);
  }
  bpe.encode(long_piece, scratch, all);
  EXPECT_EQ(all, joined);
}

// A text cut at the places that the table offers has the ids of the whole. The table must offer some.
TEST(Bpe, CutsWhereNoMergeReachesOver) {
  Json json = read_json(fixture_dir("spm-prepend") / "tokenizer.json");
  json["model"]["ignore_merges"] = true;  // leaves the table empty: the whole text is one piece
  json["model"]["vocab"]["<no text>"] = 9000;
  ASSERT_VALUE(const Tokenizer whole, load_json(json));
  ASSERT_VALUE(const Tokenizer cut, load_fixture("spm-prepend"));
  const std::string text = read_text(source_dir() / "tests/data/multilingual.txt") +
                           read_text(fixture_dir("demo") / "eval.txt").substr(0, 20000);
  ASSERT_VALUE(const Ids expected, whole.encode(text, false));
  ASSERT_VALUE(const Ids ids, cut.encode(text, false));
  EXPECT_EQ(ids, expected);

  Vocabulary vocabulary;
  for (const char* token : {"a", "b", "c", "▁", "▁a", "ab"})
    ASSERT_EQ(vocabulary.add(token, static_cast<TokenId>(vocabulary.size())), Vocabulary::Added::yes);
  const CutTable table(vocabulary, {4, 5});
  EXPECT_EQ(table.next("abc", 0), 2u);    // ab|c
  EXPECT_EQ(table.next("ab▁ab", 0), 2u);  // ab|▁ab
  EXPECT_EQ(table.next("▁ab", 0), 5u);
  EXPECT_EQ(table.next("axc", 0), 3u);  // x is no token: what becomes of it depends on its neighbours
  EXPECT_EQ(CutTable().next("abc", 0), 3u);
}

Json with_unknown(bool fuse, bool fallback) {
  Json json = small_tokenizer();
  json["model"]["vocab"]["<unk>"] = 9;
  json["model"]["vocab"]["<0xC3>"] = 10;
  json["model"]["vocab"]["<0xA9>"] = 11;
  json["model"]["unk_token"] = "<unk>";
  json["model"]["fuse_unk"] = fuse;
  json["model"]["byte_fallback"] = fallback;
  return json;
}

Ids encode(const Json& json, std::string_view text, bool special = false) {
  auto tokenizer = load_json(json);
  RL_CHECK_MSG(tokenizer.has_value(), tokenizer.error().message());
  auto ids = tokenizer->encode(text, special);
  RL_CHECK_MSG(ids.has_value(), ids.error().message());
  return *ids;
}

TEST(Bpe, PutsUnknownTokensAsTheLibraryDoes) {
  EXPECT_EQ(encode(small_tokenizer(), "axéb"), (Ids{6}));  // no unknown token: the characters vanish, a and b meet
  EXPECT_EQ(encode(with_unknown(false, false), "axyb"), (Ids{0, 9, 9, 1}));
  EXPECT_EQ(encode(with_unknown(true, false), "axyb"), (Ids{0, 9, 1}));
  EXPECT_EQ(encode(with_unknown(true, true), "aéb"), (Ids{0, 10, 11, 1}));
  // The library puts bytes before an unknown token that is still pending.
  EXPECT_EQ(encode(with_unknown(true, true), "axéb"), (Ids{0, 10, 11, 9, 1}));
}

TEST(Metaspace, ReadsTheLegacyField) {
  Json json = small_tokenizer();
  json["model"]["vocab"]["▁"] = 20;
  const auto ids = [&](const char* fields) {
    json["pre_tokenizer"] =
        Json::parse(std::string(R"({"type":"Metaspace","replacement":"▁","str_rep":"▁")") + fields + "}");
    return encode(json, "a b");
  };
  EXPECT_EQ(ids(R"(,"add_prefix_space":true)"), (Ids{20, 0, 20, 1}));
  EXPECT_EQ(ids(R"(,"add_prefix_space":false)"), (Ids{0, 20, 1}));
  EXPECT_EQ(ids(""), (Ids{20, 0, 20, 1}));
  EXPECT_EQ(ids(R"(,"prepend_scheme":"never")"), (Ids{0, 20, 1}));
}

TEST(Decoders, AgreeWithTheLibraryStepByStep) {
  struct Case {
    const char* decoder;
    std::vector<const char*> tokens;
    const char* decoded;
  };
  const std::vector<Case> cases = {
      {"null", {"a", "b", "ab"}, "a b ab"},
      {R"({"type":"Sequence","decoders":[]})", {"a", "b"}, "ab"},
      {R"({"type":"Metaspace","replacement":"▁","prepend_scheme":"always"})", {"▁▁a", "▁b", "▁"}, "a b "},
      {R"({"type":"Metaspace","replacement":"▁","prepend_scheme":"never"})", {"▁▁a", "▁b"}, "  a b"},
      {R"({"type":"ByteFallback"})", {"<0xC3>", "<0xA9>", "a", "<0xC3>", "b", "<0xC3>"}, "éa\uFFFDb\uFFFD"},
      {R"({"type":"ByteFallback"})", {"<0xC3>", "<0xA9>", "<0xC3>"}, "\uFFFD\uFFFD\uFFFD"},
      {R"({"type":"Strip","content":"▁","start":1,"stop":1})", {"▁▁a▁", "▁b", "c▁▁"}, "▁abc▁"},
      {R"({"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"Strip","content":"▁","start":2,"stop":2}]})",
       {"▁▁▁a", "▁▁", "▁b", "▁", "▁▁"},
       "▁a▁▁▁b▁"},
      {R"({"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"Replace","pattern":{"String":"ab"},"content":"-"}]})",
       {"a", "b", "a", "a", "b", "a"},
       "-a-a"},
      {R"({"type":"Sequence","decoders":[{"type":"Replace","pattern":{"Regex":"[ab]+"},"content":"."},{"type":"Fuse"}]})",
       {"ab", "a", "c"},
       "..c"},
      {R"({"type":"ByteLevel"})", {"Ã", "©", "Ã", "▁b", "Ã"}, "é\uFFFD▁b\uFFFD"},
  };
  for (const Case& one : cases) {
    Json json = small_tokenizer();
    json["decoder"] = Json::parse(one.decoder);
    json["model"]["merges"] = Json::array();
    json["model"]["vocab"] = Json::object();
    Ids ids;
    for (const char* token : one.tokens) {
      auto& vocab = json["model"]["vocab"];
      if (!vocab.contains(token)) vocab[token] = vocab.size();
      ids.push_back(vocab[token].get<TokenId>());
    }
    ASSERT_VALUE(const Tokenizer tokenizer, load_json(json));
    EXPECT_EQ(tokenizer.decode(ids, false), one.decoded) << one.decoder;
    StreamDecoder stream(tokenizer, false);
    std::string joined;
    for (TokenId id : ids) joined += stream.push(id);
    EXPECT_EQ(joined + stream.finish(), one.decoded) << one.decoder;
  }
}

// Text comes as early as it can: not only at the end.
TEST(StreamDecoder, GivesTextAsSoonAsItIsCertain) {
  ASSERT_VALUE(const Tokenizer tokenizer, load_fixture("gpt2"));
  ASSERT_VALUE(const Ids ids, tokenizer.encode("é", false));
  ASSERT_VALUE(const Ids letters, tokenizer.encode("a", false));
  StreamDecoder stream(tokenizer, true);
  EXPECT_EQ(stream.push(letters[0]), "a");
  std::string joined;
  for (TokenId id : ids) joined += stream.push(id);
  EXPECT_EQ(joined, "é");
  const TokenId first_byte = *tokenizer.id_of("Ã");
  EXPECT_EQ(stream.push(first_byte), "");
  EXPECT_EQ(stream.push(letters[0]),
            "\uFFFD"
            "a");
  EXPECT_EQ(stream.push(first_byte), "");
  EXPECT_EQ(stream.finish(), "\uFFFD");
  EXPECT_EQ(stream.push(letters[0]), "a");
}

TEST(PostProcessor, AddsWhatBertAndRobertaAdd) {
  Json json = small_tokenizer();
  json["post_processor"] =
      Json::parse(R"({"type":"RobertaProcessing","sep":["d",3],"cls":["c",2],"trim_offsets":true})");
  EXPECT_EQ(encode(json, "a", true), (Ids{2, 0, 3}));
  EXPECT_EQ(encode(json, "a", false), (Ids{0}));
}

TEST(AddedTokens, TakeTheLongestAndMindTheirNeighbours) {
  Json json = small_tokenizer();
  json["added_tokens"] = Json::parse(R"([
    {"id":30,"content":"ba","single_word":true},{"id":31,"content":"<a>"},{"id":32,"content":"<a>b","rstrip":true},
    {"id":33,"content":"<l>","lstrip":true},{"id":34,"content":"  "}])");
  for (Json& token : json["added_tokens"]) token["normalized"] = false;
  EXPECT_EQ(encode(json, "ba cba ba"), (Ids{30, 5, 2, 1, 0, 5, 30}));
  EXPECT_EQ(encode(json, "<a>c<a>b c"), (Ids{31, 2, 32, 2}));
  EXPECT_EQ(encode(json, "a <l><l>"), (Ids{0, 33, 33}));
  EXPECT_EQ(encode(json, "<a>b   c"), (Ids{32, 34, 5, 2}));  // the search goes on inside the white space that was taken
  EXPECT_EQ(encode(json, "ba\u200D"), (Ids{1, 0}));          // a joiner is of a word, too
  EXPECT_EQ(encode(json, "éba"), (Ids{1, 0}));               // a word character before it
}

}  // namespace
}  // namespace rl::model::test
