#include "model/json.h"

#include "check/growth.h"
#include "check/result.h"
#include "model_files.h"

namespace rl::model::json {
namespace {

Result<Document> parse(std::string text, Limits limits = {}) {
  return Document::parse(FileView::of_string("t.json", std::move(text)), limits);
}

TEST(Json, ReadsEveryKindOfValueWithItsPlace) {
  ASSERT_VALUE(const Document doc, parse(R"( {"a": [1, -2.5e1, true, null], "b": {"é\n\ud83d\ude00": "x\/y"}} )"));
  const Value root = doc.root();
  ASSERT_EQ(root.size(), 2);
  ASSERT_VALUE(const Value a, root.at("a"));
  std::vector<std::string> paths;
  std::vector<std::int64_t> offsets;
  for (const auto [key, value] : a.items()) paths.push_back(value.path()), offsets.push_back(value.offset());
  EXPECT_EQ(paths, (std::vector<std::string>{"a[0]", "a[1]", "a[2]", "a[3]"}));
  EXPECT_EQ(offsets, (std::vector<std::int64_t>{8, 11, 19, 25}));
  const auto [key, x] = *root.at("b")->items().begin();
  EXPECT_EQ(key, "é\n😀");
  EXPECT_EQ(x.string().value(), "x/y");
  EXPECT_EQ(x.path(), "b.é\\x0a😀");
  auto second = a.items().begin();
  EXPECT_EQ((*++second).value.number().value(), -25.0);
  EXPECT_EQ((*++second).value.boolean().value(), true);
  EXPECT_FALSE(root.find("c"));
  EXPECT_EQ(root.at("c").error().field, "c");
}

struct Bad {
  const char* name;
  std::string text;
  const char* rule;
  std::int64_t offset;
  const char* field;
};

const Bad kBad[] = {
    {"empty", "", "json.empty", 0, ""},
    {"blank", " \n", "json.empty", 2, ""},
    {"bom", "\xEF\xBB\xBF{}", "json.bom", 0, ""},
    {"utf16", std::string("\xFF\xFE{\0", 4), "json.syntax", 0, ""},
    {"truncated", R"({"a": [1, 2)", "json.syntax", 11, "a[1]"},
    {"truncated_string", R"({"a": "xy)", "json.syntax", 9, "a"},
    {"truncated_escape", "[\"\\", "json.syntax", 3, "[0]"},
    {"trailing_comma_object", R"({"a": 1, })", "json.syntax", 9, "a"},
    {"trailing_comma_array", "[1, ]", "json.syntax", 4, "[0]"},
    {"comment", "{/* */}", "json.syntax", 1, ""},
    {"single_quote", "{'a': 1}", "json.syntax", 1, ""},
    {"missing_colon", R"({"a" 1})", "json.syntax", 5, "a"},
    {"mismatched", "[1}", "json.syntax", 2, "[0]"},
    {"two_values", "{} {}", "json.trailing", 3, ""},
    {"nul_after", std::string("{}\0", 3), "json.trailing", 2, ""},
    {"literal", "[tru]", "json.syntax", 1, "[0]"},
    {"nan", R"({"a": NaN})", "json.number", 6, "a"},
    {"infinity", R"({"a": -Infinity})", "json.number", 6, "a"},
    {"overflow", R"({"a": 1e999})", "json.number", 6, "a"},
    {"leading_zero", "[01]", "json.number", 1, "[0]"},
    {"plus", "[+1]", "json.number", 1, "[0]"},
    {"bare_point", "[1.]", "json.number", 1, "[0]"},
    {"bare_exponent", "[1e]", "json.number", 1, "[0]"},
    {"control", "[\"a\nb\"]", "json.string", 3, "[0]"},
    {"escape", R"(["\x41"])", "json.escape", 2, "[0]"},
    {"short_u", R"(["\u12"])", "json.escape", 2, "[0]"},
    {"signed_u", R"(["\u-123"])", "json.escape", 2, "[0]"},
    {"lone_high", R"({"k": "a\ud800"})", "json.surrogate", 8, "k"},
    {"lone_low", R"(["\udc00"])", "json.surrogate", 2, "[0]"},
    {"high_high", R"(["\ud800\ud800"])", "json.surrogate", 2, "[0]"},
    {"utf8_continuation", "{\"k\": \"a\x80\"}", "json.utf8", 8, "k"},
    {"utf8_overlong", "[\"\xC0\xAF\"]", "json.utf8", 2, "[0]"},
    {"utf8_surrogate", "[\"\xED\xA0\x80\"]", "json.utf8", 2, "[0]"},
    {"utf8_cut", "[\"\xE2\x82\"]", "json.utf8", 2, "[0]"},
    {"utf8_beyond", "[\"\xF4\x90\x80\x80\"]", "json.utf8", 2, "[0]"},
    {"duplicate", R"({"o": {"a": 1, "b": 2, "a": 1}})", "json.duplicate_key", 23, "o.a"},
    {"duplicate_escaped", R"({"a": 1, "\u0061": 2})", "json.duplicate_key", 9, "a"},
};

TEST(Json, RefusesWithRuleFieldAndOffset) {
  for (const Bad& bad : kBad) {
    SCOPED_TRACE(bad.name);
    const auto result = parse(bad.text);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().kind, ErrorKind::invalid_input);
    EXPECT_EQ(result.error().rule, bad.rule);
    EXPECT_EQ(result.error().offset, bad.offset);
    EXPECT_EQ(result.error().field, bad.field);
    EXPECT_EQ(result.error().file, "t.json");
  }
}
TEST(Json, SixtyFourLevelsAreFineAndNoMore) {
  EXPECT_OK(parse(std::string(64, '[') + std::string(64, ']')));
  const auto deeper = parse(std::string(100'000, '['));
  EXPECT_EQ(deeper.error().rule, "json.depth");
  EXPECT_EQ(deeper.error().offset, 64);
}

TEST(Json, NumbersAreReadAsWhatTheyAre) {
  ASSERT_VALUE(const Document doc, parse(R"([0, 9223372036854775807, 9223372036854775808, 1.5, 1e3, -0, "1",
      1000000000000000019884624838656, 0.1])"));
  std::vector<std::string> rules;
  for (const auto [key, value] : doc.root().items()) {
    const auto integer = value.integer();
    rules.push_back(integer ? std::to_string(*integer) : integer.error().rule);
  }
  EXPECT_EQ(rules, (std::vector<std::string>{"0", "9223372036854775807", "json.range", "json.integer", "json.integer",
                                             "json.integer", "json.type", "json.range", "json.integer"}));
  const Value first = (*doc.root().items().begin()).value;
  const Error error = first.integer(1, 10).error();
  EXPECT_EQ(error.rule, "json.range");
  EXPECT_EQ(error.expected, "an integer from 1 to 10");
  EXPECT_EQ(error.field, "[0]");
  auto last = doc.root().items().begin();
  for (int i = 0; i < 8; ++i) ++last;
  EXPECT_EQ((*last).value.number().value(), 0.1);
}

TEST(Json, SizeLimitIsChecked) { EXPECT_EQ(parse("[1, 2]", {.bytes = 5}).error().rule, "json.size"); }

std::vector<std::string> hostile_texts(std::size_t size) {
  std::string keys = "{", same_prefix = "{", escapes = "[\"", objects = "[{}";
  while (keys.size() < size) keys += fmt::format("\"{:x}\":0,", keys.size());
  keys += "\"z\":0}";
  const std::string prefix(500, 'p');
  while (same_prefix.size() < size) same_prefix += fmt::format("\"{}{}\":0,", prefix, same_prefix.size());
  same_prefix += "\"z\":0}";
  while (escapes.size() < size) escapes += "\\u0000";
  escapes += "\"]";
  while (objects.size() < size) objects += ",{}";
  objects += "]";
  return {keys,
          same_prefix,
          escapes,
          objects,
          std::string(size, '['),
          "[" + std::string(size, '9') + "]",
          "[0." + std::string(size, '1') + "e-5]",
          "[\"" + std::string(size, 'x')};
}

TEST(Json, HostileTextsTakeLinearTime) {
  const auto small = hostile_texts(std::size_t{1} << 16), large = hostile_texts(std::size_t{1} << 20);
  for (std::size_t i = 0; i < small.size(); ++i) {
    const auto read = [](const std::string& text) { static_cast<void>(parse(text).has_value()); };
    EXPECT_LT(check::growth(small[i], large[i], read), check::kLinearGrowth) << small[i].substr(0, 20);
  }
}

}  // namespace
}  // namespace rl::model::json
