#include "record/json.h"

#include <limits>

#include <gmock/gmock.h>

#include "base/file.h"
#include "check/result.h"
#include "folder.h"
#include "random_run.h"
#include "record/write_run.h"
#include "same.h"

namespace rl::record {
namespace {

using testing::HasSubstr;

TEST(Json, EveryRunComesBackToTheBit) {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    const record::Run run = RandomRun(seed).run();
    ASSERT_VALUE(const record::Run back, from_json(to_json(run), "memory"));
    ASSERT_TRUE(same(run, back)) << "seed " << seed << "\n" << to_json(run);
  }
}

TEST(Json, AnExperimentAloneComesBackToTheBit) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const Experiment experiment = RandomRun(seed).experiment();
    ASSERT_VALUE(const Experiment back, experiment_from_json(to_json(experiment), "memory"));
    ASSERT_TRUE(same(experiment, back)) << seed;
  }
}

TEST(Json, NumbersThatJsonLacksAreNull) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  record::Run run;
  run.experiments = {{.rows = {{.metrics = {{.value = std::numeric_limits<double>::quiet_NaN(),
                                             .ci95 = Interval{-kInfinity, 3},
                                             .samples = {1, kInfinity}}}}}}};
  const std::string json = to_json(run);
  EXPECT_THAT(json, HasSubstr("\"value\": null"));
  EXPECT_THAT(json, HasSubstr("\"samples\": [1.0,null]"));
  ASSERT_VALUE(const record::Run back, from_json(json, "memory"));
  const Metric& metric = back.experiments[0].rows[0].metrics[0];
  EXPECT_TRUE(std::isnan(metric.value));
  EXPECT_EQ(metric.ci95->low, -kInfinity);
  EXPECT_EQ(metric.ci95->high, 3);
  EXPECT_TRUE(std::isnan(metric.samples[1]));
}

TEST(Json, TextThatIsNotUtf8IsReplacedNotRefused) {
  record::Run run;
  run.command = "redline run -m \xff\xfe";
  ASSERT_VALUE(const record::Run back, from_json(to_json(run), "memory"));
  EXPECT_EQ(back.command, "redline run -m \uFFFD\uFFFD");
}

TEST(Json, ReadsAsAPersonWouldWriteIt) {
  Experiment experiment{.id = "attention", .title = "Attention"};
  experiment.rows = {{.axes = {{"variant", "flash"}, {"seq", "1024"}}}};
  const std::string json = to_json(experiment);
  EXPECT_THAT(json, HasSubstr("{\n  \"id\": \"attention\",\n  \"title\": \"Attention\""));
  EXPECT_THAT(json, HasSubstr("\"axes\": {\n        \"variant\": \"flash\",\n        \"seq\": \"1024\"\n      }"));
}

Run small_run() {
  record::Run run;
  run.id = "1";
  run.experiments = {{.rows = {{.axes = {{"seq", "1"}}, .metrics = {{.name = "t", .ci95 = Interval{1, 2}}}}}}};
  return run;
}

// What a damaged or foreign file looks like: `from` is replaced by `to` in a good one.
struct Damage {
  const char *name, *from, *to, *rule, *field;

  friend void PrintTo(const Damage& damage, std::ostream* out) { *out << damage.name; }
};

class DamagedJson : public testing::TestWithParam<Damage> {};

TEST_P(DamagedJson, IsRefusedWithTheFieldsPath) {
  const Damage& damage = GetParam();
  std::string json = to_json(small_run());
  const std::size_t at = json.find(damage.from);
  ASSERT_NE(at, std::string::npos);
  json.replace(at, std::string_view(damage.from).size(), damage.to);
  const auto result = from_json(json, "record.json");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().rule, damage.rule) << result.error().message();
  EXPECT_EQ(result.error().field, damage.field);
  EXPECT_EQ(result.error().file, "record.json");
  EXPECT_NE(result.error().found, "");
}

constexpr const char* kMetric = "experiments[0].rows[0].metrics[0]";
const std::string kUnit = std::string(kMetric) + ".unit", kStop = std::string(kMetric) + ".stop",
                  kLow = std::string(kMetric) + ".ci95.low", kInner = std::string(kMetric) + ".inner",
                  kSamples = std::string(kMetric) + ".samples";

INSTANTIATE_TEST_SUITE_P(
    Cases, DamagedJson,
    testing::Values(
        Damage{"missing", "\"unit\": \"\",", "", "record.missing", kUnit.c_str()},
        Damage{"unknown", "\"mode\": \"\",", "\"mode\": \"\", \"moed\": 1,", "record.unknown", "moed"},
        Damage{"twice", "\"mode\": \"\",", "\"mode\": \"\", \"mode\": \"\",", "record.unknown", "mode"},
        Damage{"text_for_number", "\"low\": 1.0", "\"low\": \"1.0\"", "record.type", kLow.c_str()},
        Damage{"number_for_text", "\"unit\": \"\"", "\"unit\": 3", "record.type", kUnit.c_str()},
        Damage{"null_for_text", "\"unit\": \"\"", "\"unit\": null", "record.type", kUnit.c_str()},
        Damage{"object_for_list", "\"samples\": []", "\"samples\": {}", "record.type", kSamples.c_str()},
        Damage{"fraction_for_integer", "\"inner\": 1", "\"inner\": 1.5", "record.type", kInner.c_str()},
        Damage{"too_large", "\"inner\": 1", "\"inner\": 2147483648", "record.range", kInner.c_str()},
        Damage{"negative_seed", "\"seed\": 0", "\"seed\": -1", "record.type", "seed"},
        Damage{"word", "\"stop\": \"none\"", "\"stop\": \"bored\"", "record.word", kStop.c_str()},
        Damage{"axis_twice", "\"seq\": \"1\"", "\"seq\": \"1\", \"seq\": \"2\"", "record.duplicate",
               "experiments[0].rows[0].axes.seq"},
        Damage{"no_version", "\"schema_version\": 3,", "", "record.missing", "schema_version"},
        Damage{"newer", "\"schema_version\": 3,", "\"schema_version\": 4,", "record.schema_version", "schema_version"},
        Damage{"older", "\"schema_version\": 3,", "\"schema_version\": 0,", "record.schema_version", "schema_version"},
        Damage{"version_text", "\"schema_version\": 3,", "\"schema_version\": \"3\",", "record.type", "schema_version"},
        Damage{"overflow", "\"low\": 1.0", "\"low\": 1e999", "record.json", ""},
        Damage{"not_a_number", "\"low\": 1.0", "\"low\": NaN", "record.json", ""},
        Damage{"comma", "\"mode\": \"\",", "\"mode\": \"\",,", "record.json", ""},
        Damage{"bad_utf8", "\"mode\": \"\"", "\"mode\": \"\xff\"", "record.json", ""}),
    [](const auto& instance) { return std::string(instance.param.name); });

TEST(Json, ANewerSchemaIsUnsupportedNotInvalid) {
  record::Run run;
  run.schema_version = kSchemaVersion + 1;
  EXPECT_EQ(from_json(to_json(run), "f").error().kind, ErrorKind::unsupported);
}

TEST(Json, EveryCutOfAFileIsRefused) {
  const std::string json = to_json(small_run());
  for (std::size_t length = 0; length + 1 < json.size(); length += 7)
    EXPECT_FALSE(from_json(std::string_view(json).substr(0, length), "f")) << length;
  EXPECT_FALSE(from_json(json + "x", "f"));
  EXPECT_FALSE(from_json("[]", "f"));
  EXPECT_FALSE(from_json(std::string(100'000, '['), "f"));
}

TEST(WriteRun, MakesTheFolderAndReplacesTheFileAsAWhole) {
  const TemporaryFolder folder;
  const std::filesystem::path run_folder = folder.path() / "runs" / "1";
  record::Run run = small_run();
  ASSERT_OK(write_run_folder(run, run_folder));
  run.finished = "2026-11-23T14:05:09Z";
  ASSERT_OK(write_run_folder(run, run_folder));
  ASSERT_VALUE(const FileView file, map_file(run_folder / "record.json"));
  ASSERT_VALUE(const record::Run back, from_json(file.text(), file.name()));
  EXPECT_TRUE(same(run, back));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(run_folder), {}), 1) << "a temporary file was left";
  EXPECT_EQ(write_run_folder(run, run_folder / "record.json").error().kind, ErrorKind::io);
}

TEST(Names, AreWordsForEveryValueAndNoneBehindTheLast) {
  // The reader finds the last value by the empty name behind it.
  EXPECT_STREQ(name_of(State::not_built), "not built yet");
  EXPECT_STREQ(name_of(static_cast<State>(5)), "");
  EXPECT_STREQ(name_of(static_cast<Outcome>(6)), "");
  EXPECT_STREQ(name_of(static_cast<Verdict>(4)), "");
  EXPECT_STREQ(name_of(static_cast<Stop>(4)), "");
  EXPECT_STREQ(name_of(static_cast<Timing>(4)), "");
  EXPECT_STREQ(name_of(static_cast<Better>(3)), "");
}

}  // namespace
}  // namespace rl::record
