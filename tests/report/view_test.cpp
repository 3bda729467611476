#include "report/view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "report/facts.h"
#include "sample_run.h"

namespace rl::report {
namespace {

using testing::ElementsAre;
using testing::Pair;

TEST(Badge, ShowsTheStateUnlessTheExperimentWasDone) {
  using record::Outcome, record::State;
  record::Experiment e{.state = State::done, .outcome = Outcome::refuted, .hypotheses = {{}}};
  EXPECT_EQ(badge_of(e).word, "refuted");
  e.state = State::skipped;
  EXPECT_EQ(badge_of(e).word, "skipped");
  e.state = State::not_built;
  EXPECT_EQ(badge_of(e).word, "not built yet");
  e.state = State::invalid;
  EXPECT_EQ(badge_of(e).word, "invalid");
}

TEST(Badge, OfAnExperimentWithNothingToJudgeIsMeasured) {
  record::Experiment e{.state = record::State::done, .outcome = record::Outcome::holds};
  EXPECT_EQ(badge_of(e).word, "measured");
  e.outcome = record::Outcome::refuted;  // a verdict against is never hidden
  EXPECT_EQ(badge_of(e).word, "refuted");
}

TEST(Badge, DistinguishesOutcomesWithoutColour) {
  std::set<std::string> seen;
  for (const auto& [badge, rule] : verdict_rules()) {
    EXPECT_TRUE(seen.insert(tone_sign(badge.tone)).second) << badge.word;
    EXPECT_FALSE(rule.empty());
  }
  EXPECT_EQ(seen.size(), 6U);
}

TEST(Axes, SayOnceWhatDoesNotChange) {
  const Axes axes = axes_of(sample_attention().rows);
  EXPECT_THAT(axes.varying, ElementsAre("variant", "seq", "causal"));
  EXPECT_THAT(axes.constant, ElementsAre(Pair("batch", "1"), Pair("heads", "8"), Pair("head_dim", "64")));
}

TEST(Axes, OfOneRowAreAllShown) {
  EXPECT_THAT(axes_of({record::Row{.axes = {{"seq", "1"}}}}).varying, ElementsAre("seq"));
}

TEST(Ceilings, AreTheProbesOfTheBaseline) {
  const record::Run run = sample_run();
  std::vector<std::string> names;
  for (const Ceiling& ceiling : ceilings_of(run)) names.push_back(ceiling.name);
  EXPECT_THAT(names, ElementsAre("read bandwidth", "matrix rate bf16", "matrix rate fp32", "matrix rate int8"));
}

TEST(Tally, CountsEveryExperimentOnce) {
  const record::Run run = sample_run();
  std::size_t total = 0;
  for (const Tally& entry : tally(run)) total += static_cast<std::size_t>(entry.count);
  EXPECT_EQ(total, run.experiments.size());
}

TEST(ChartData, EqualsTheRows) {
  const record::Experiment e = sample_attention();
  const ChartData data = chart_data(e, e.charts[0]);
  ASSERT_EQ(data.series.size(), 2U);
  EXPECT_EQ(data.unit, "s");
  for (const Series& series : data.series) {
    ASSERT_EQ(series.points.size(), 6U);
    for (const Point& point : series.points) {
      const auto row = std::find_if(e.rows.begin(), e.rows.end(), [&](const record::Row& r) {
        return *axis_value(r, "variant") == series.name && *axis_value(r, "seq") == point.label &&
               *axis_value(r, "causal") == "no";
      });
      ASSERT_NE(row, e.rows.end());
      const record::Metric& metric = *metric_of(*row, "time");
      EXPECT_EQ(point.y, metric.value);
      EXPECT_EQ(point.ci95->low, metric.ci95->low);
      EXPECT_EQ(point.ci95->high, metric.ci95->high);
      EXPECT_EQ(point.x, std::stod(point.label));
    }
  }
}

TEST(ChartData, MarksInvalidRows) {
  const record::Experiment e = sample_attention();
  const ChartData data = chart_data(e, e.charts[1]);
  EXPECT_FALSE(data.series[0].points.back().valid);
  EXPECT_TRUE(data.series[1].points.back().valid);
}

TEST(ChartData, DrawsALineForEachCombinationOfOtherAxes) {
  const record::Experiment e = sample_attention();
  record::Chart chart = e.charts[0];
  chart.where.clear();
  std::vector<std::string> names;
  for (const Series& series : chart_data(e, chart).series) names.push_back(series.name);
  EXPECT_THAT(names,
              ElementsAre("standard, causal no", "flash, causal no", "standard, causal yes", "flash, causal yes"));
}

TEST(ChartData, CallsTheRunsOwnModelSo) {
  record::Experiment e;
  for (const char* shape : {"given", "synthetic:llama-2-7b"})
    for (const char* format : {"given", "fp8"})
      e.rows.push_back({.axes = {{"shape", shape}, {"format", format}}, .metrics = {counted("time", "s", 1)}});
  const ChartData data = chart_data(e, {.x = "format", .y = "time", .series = "shape"});
  EXPECT_THAT(data.labels, ElementsAre("the run's model", "fp8"));
  ASSERT_EQ(data.series.size(), 2U);
  EXPECT_EQ(data.series[0].name, "the run's model");
  EXPECT_EQ(data.series[1].name, "synthetic:llama-2-7b");
}

TEST(ChartData, CountsWhatItCannotDraw) {
  record::Experiment e;
  for (const auto& [seq, value] : {std::pair{"1", 0.0}, std::pair{"2", static_cast<double>(NAN)}, std::pair{"4", 3.0}})
    e.rows.push_back({.axes = {{"seq", seq}}, .metrics = {counted("time", "s", value)}});
  const ChartData logarithmic = chart_data(e, {.x = "seq", .y = "time", .log_y = true});
  EXPECT_EQ(logarithmic.left_out, 2);
  EXPECT_EQ(logarithmic.series.at(0).points.size(), 1U);
  EXPECT_EQ(chart_data(e, {.x = "seq", .y = "time"}).left_out, 1);
}

TEST(ChartData, SaysWhyNothingCanBeDrawn) {
  EXPECT_NE(chart_data(sample_attention(), {.x = "seq", .y = "no_such_metric"}).empty_reason, "");
  EXPECT_NE(chart_data({}, {.x = "seq", .y = "time"}).empty_reason, "");
}

TEST(ChartData, NumbersOfASeriesHaveTheNameOfTheirAxis) {
  record::Experiment experiment;
  for (const char* seqs : {"4", "16"})
    experiment.rows.push_back({.axes = {{"load", "50"}, {"seqs", seqs}}, .metrics = {{.name = "time", .value = 1}}});
  const ChartData data = chart_data(experiment, {.x = "load", .y = "time", .series = "seqs"});
  ASSERT_EQ(data.series.size(), 2U);
  EXPECT_EQ(data.series[0].name, "seqs 4");
  EXPECT_EQ(data.series[1].name, "seqs 16");
}

TEST(ChartData, TakesWordsAsCategories) {
  const ChartData data =
      chart_data(sample_attention(), {.x = "variant", .y = "time", .series = "seq", .where = {{"causal", "no"}}});
  EXPECT_TRUE(data.categories);
  EXPECT_THAT(data.labels, ElementsAre("standard", "flash"));
}

}  // namespace
}  // namespace rl::report
