#include "lab/point.h"

#include "check/result.h"

namespace rl::lab {
namespace {

using Values = std::vector<std::string>;

TEST(ParseValues, ListsRangesAndWords) {
  EXPECT_EQ(parse_values("512").value(), Values({"512"}));
  EXPECT_EQ(parse_values("128..1024").value(), Values({"128", "256", "512", "1024"}));
  EXPECT_EQ(parse_values("1..16+5").value(), Values({"1", "6", "11", "16"}));
  EXPECT_EQ(parse_values("1,4..8,yes").value(), Values({"1", "4", "8", "yes"}));
  EXPECT_EQ(parse_values("100..300").value(), Values({"100", "200"})) << "never past the end";
  EXPECT_EQ(parse_values("64..128,128,yes,64,yes").value(), Values({"64", "128", "yes"})) << "each once";
  EXPECT_EQ(parse_values("1..64+1")->size(), 64u);
}

TEST(ParseValues, RefusesWhatItCannotRead) {
  for (const char* text : {"", ",", "1,", "1,,2", "..4", "4..", "8..4", "0..4", "a..b", "1..8+0", "1..8+x",
                           "1..99999999999999999999", "1..65+1", "1..1099511627776+9223372036854775807"}) {
    const auto parsed = parse_values(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().kind, ErrorKind::usage) << text;
  }
}

const std::vector<Axis> kAxes = {{"seq", "tokens", {"64", "128"}, {"64", "128", "256"}},
                                 {"causal", "mask", {"no", "yes"}, {"no", "yes"}}};

TEST(Cross, LastAxisFastestAndModesDiffer) {
  const auto quick = cross(kAxes, AxisSet::quick, {}).value();
  ASSERT_EQ(quick.size(), 4u);
  EXPECT_EQ(quick[0].label(), "seq 64, causal no");
  EXPECT_EQ(quick[1].label(), "seq 64, causal yes");
  EXPECT_EQ(quick[2].number("seq"), 128);
  EXPECT_EQ(cross(kAxes, AxisSet::full, {}).value().size(), 6u);
  EXPECT_EQ(cross(kAxes, AxisSet::gpu, {}).value().size(), 6u) << "an axis without values of its own for a GPU";
  const std::vector<Axis> longer = {{"seq", "tokens", {"64"}, {"64", "128"}, {"64", "128", "256"}}};
  EXPECT_EQ(cross(longer, AxisSet::full, {}).value().size(), 2u);
  EXPECT_EQ(cross(longer, AxisSet::gpu, {}).value().size(), 3u);
  EXPECT_EQ(values_of(longer[0], AxisSet::gpu, {{"seq", {"8"}}}), Values({"8"}));
}

TEST(Cross, AnOverrideReplacesItsAxisAndMustNameOne) {
  const auto points = cross(kAxes, AxisSet::quick, {{"seq", {"4096"}}}).value();
  ASSERT_EQ(points.size(), 2u);
  EXPECT_EQ(points[1].label(), "seq 4096, causal yes");
  const auto refused = cross(kAxes, AxisSet::quick, {{"sequence", {"1"}}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().expected, "--seq, --causal");
}

TEST(Cross, TakesNoValueThatAnAxisCannotHave) {
  const std::vector<Axis> axes = {{"seq", "tokens", {"64"}, {"128"}},
                                  {"causal", "mask", {"no", "yes"}, {"no", "yes"}},
                                  {"load", "queue, or percent", {"queue", "50"}, {"queue", "95"}},
                                  {"space", "GiB", {"card"}, {"card"}, {"card", "8"}},
                                  {"shape", "a model", {"given"}, {"given"}, {}, true}};
  const std::pair<const char*, const char*> good[] = {
      {"seq", "1"},   {"seq", "1048576"}, {"causal", "yes"},  {"load", "queue"},
      {"load", "33"}, {"space", "9"},     {"shape", "given"}, {"shape", "synthetic:b"},
  };
  for (const auto& [name, value] : good)
    EXPECT_TRUE(cross(axes, AxisSet::quick, {{name, {value}}})) << name << " " << value;
  const std::pair<const char*, const char*> bad[] = {
      {"seq", "abc"},      {"seq", "0"},    {"seq", "-5"},    {"seq", "1048577"},
      {"seq", "1e3"},      {"seq", " 64"},  {"seq", "64x"},   {"seq", "99999999999999999999999"},
      {"causal", "maybe"}, {"causal", "1"}, {"load", "fast"}, {"load", "0"},
  };
  for (const auto& [name, value] : bad) {
    const auto refused = cross(axes, AxisSet::quick, {{name, {value}}});
    ASSERT_FALSE(refused) << name << " " << value;
    EXPECT_EQ(refused.error().kind, ErrorKind::usage);
    EXPECT_EQ(refused.error().rule, "axis.value");
    EXPECT_EQ(refused.error().field, std::string("--") + name);
    EXPECT_EQ(refused.error().found, value);
  }
  EXPECT_EQ(cross(axes, AxisSet::quick, {{"load", {"fast"}}}).error().expected,
            "queue, a whole number from 1 to 1048576");
}

}  // namespace
}  // namespace rl::lab
