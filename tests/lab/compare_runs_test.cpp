// Two runs side by side: unlike ones are refused by name, planted changes are found, equal runs are fine.

#include "lab/compare_runs.h"

#include <cmath>

#include <gmock/gmock.h>

#include "check/result.h"
#include "measure/measure.h"

namespace rl::lab {
namespace {

using record::Judgement;
using record::Run;
using record::Verdict;
using testing::ElementsAre;
using testing::HasSubstr;

record::Metric timed(const char* name, double center, std::uint64_t seed,
                     record::Better better = record::Better::lower) {
  record::Metric metric{.name = name, .unit = "s", .better = better, .seed = 1};
  for (int i = 0; i < 30; ++i)
    metric.samples.push_back(center * (1 + 0.02 * std::fmod((i + static_cast<double>(seed)) * 0.6180339887, 1)));
  measure::summarise(metric);
  return metric;
}

Run a_run(std::string id, std::uint64_t seed) {
  Run run{.id = std::move(id), .mode = "quick", .finished = "2026-11-23T15:00:00Z", .seed = 1};
  run.environment = {.cpu = "AMD EPYC",
                     .cores = 2,
                     .memory_bytes = 1 << 30,
                     .isa = "avx2",
                     .version = "0.1.0",
                     .commit = "a1",
                     .build = "Release"};
  run.model = {
      .name = "demo", .fingerprint = "f1", .tokenizer_fingerprint = "t1", .stored_as = "bf16", .computed_as = "bf16"};
  const record::Metric time = timed("time", 1.0, seed);
  run.experiments = {
      {.id = "baseline",
       .state = record::State::done,
       .rows = {{.axes = {{"load", "ceiling"}, {"probe", "read_bandwidth"}},
                 .metrics = {timed("read_bandwidth", 10, seed + 1, record::Better::higher)}}}},
      {.id = "attention",
       .state = record::State::done,
       .rows =
           {{.axes = {{"variant", "flash"}, {"seq", "64"}},
             .metrics =
                 {time,
                  measure::rate_of(time, "rate", "FLOP/s", 7),
                  {.name = "bytes", .unit = "B", .better = record::Better::lower, .value = 64, .statistic = "count"}},
             .path = {"attention/cpu.flash"}}},
       .peak_memory_bytes = 1000}};
  return run;
}

record::RunComparison compared(const Run& a, const Run& b, CompareOptions options = {}) {
  return *compare_runs(a, b, options);
}

TEST(CompareRuns, EqualRunsAreFineAndDerivedMetricsCountOnce) {
  const auto comparison = compared(a_run("a", 1), a_run("b", 5));
  EXPECT_EQ(judgement_of(comparison), Judgement::fine);
  std::vector<std::string> names;
  for (const auto& metric : comparison.metrics) {
    names.push_back(metric.metric);
    EXPECT_EQ(metric.result.verdict, Verdict::same) << metric.metric;
  }
  EXPECT_THAT(names, ElementsAre("time", "bytes", "peak_memory")) << "the rate is the time again";
  ASSERT_EQ(comparison.anchors.size(), 1u);
  ASSERT_TRUE(comparison.drift);
  EXPECT_LT(*comparison.drift, 1.03);
}

struct Plant {
  const char* name;
  void (*apply)(Run&);
  Judgement judgement;
  Verdict verdict;  // of the first metric
};
class CompareRunsPlanted : public testing::TestWithParam<Plant> {};

TEST_P(CompareRunsPlanted, IsFound) {
  record::Run b = a_run("b", 5);
  GetParam().apply(b);
  const auto comparison = compared(a_run("a", 1), b);
  EXPECT_EQ(judgement_of(comparison), GetParam().judgement);
  ASSERT_FALSE(comparison.metrics.empty());
  EXPECT_EQ(comparison.metrics[0].result.verdict, GetParam().verdict);
}

record::Row& row_of(Run& run) { return run.experiments[1].rows[0]; }

INSTANTIATE_TEST_SUITE_P(
    Cases, CompareRunsPlanted,
    testing::Values(
        Plant{"slower", [](Run& b) { row_of(b).metrics[0] = timed("time", 1.3, 5); }, Judgement::worse, Verdict::worse},
        Plant{"faster", [](Run& b) { row_of(b).metrics[0] = timed("time", 0.7, 5); }, Judgement::fine, Verdict::better},
        Plant{"more_memory", [](Run& b) { row_of(b).metrics[2].value = 70; }, Judgement::worse, Verdict::same},
        Plant{"slower_machine",
              [](Run& b) {
                row_of(b).metrics[0] = timed("time", 1.3, 5);
                b.experiments[0].rows[0].metrics[0] = timed("read_bandwidth", 7, 5, record::Better::higher);
              },
              Judgement::inconclusive, Verdict::inconclusive},
        Plant{"noisy",
              [](Run& b) {
                for (std::size_t i = 0; i < 30; ++i) row_of(b).metrics[0].samples[i] *= i % 2 ? 2 : 0.5;
              },
              Judgement::inconclusive, Verdict::inconclusive},
        Plant{"forged_summary", [](Run& b) { row_of(b).metrics[0].value = 0.1; }, Judgement::fine, Verdict::same},
        Plant{"invalid", [](Run& b) { b.validity = {.valid = false, .reasons = {"foreign load"}}; }, Judgement::invalid,
              Verdict::same},
        Plant{"unfinished", [](Run& b) { b.finished.clear(); }, Judgement::invalid, Verdict::same}),
    [](const auto& instance) { return std::string(instance.param.name); });

TEST(CompareRuns, WithoutAnchorsADifferenceOfSpeedIsInconclusiveAndCountedFiguresAreJudged) {
  for (const double time : {0.7, 1.0, 1.3}) {
    record::Run a = a_run("a", 1), b = a_run("b", 5);
    row_of(b).metrics[0] = timed("time", time, 5);
    for (record::Run* run : {&a, &b}) run->experiments.erase(run->experiments.begin());
    const auto comparison = compared(a, b);
    EXPECT_FALSE(comparison.drift);
    ASSERT_EQ(comparison.metrics.size(), 3u);
    EXPECT_EQ(comparison.metrics[0].result.verdict, Verdict::inconclusive);
    EXPECT_TRUE(std::isinf(comparison.metrics[0].result.ci95.high));
    EXPECT_EQ(comparison.metrics[1].result.verdict, Verdict::same) << "bytes";
    EXPECT_EQ(judgement_of(comparison), Judgement::inconclusive);
  }
}

struct Unlike {
  const char* name;
  void (*apply)(Run&);
};
class CompareRunsUnlike : public testing::TestWithParam<Unlike> {};

TEST_P(CompareRunsUnlike, IsRefusedByNameUnlessAllowed) {
  record::Run b = a_run("b", 5);
  GetParam().apply(b);
  const auto refused = compared(a_run("a", 1), b);
  EXPECT_EQ(judgement_of(refused), Judgement::invalid);
  EXPECT_TRUE(refused.metrics.empty());
  ASSERT_EQ(refused.differences.size(), 1u);
  EXPECT_EQ(refused.differences[0].name, GetParam().name);
  EXPECT_NE(refused.differences[0].baseline, refused.differences[0].candidate);
  const auto allowed = compared(a_run("a", 1), b, {.allowed = {GetParam().name}});
  ASSERT_EQ(allowed.differences.size(), 1u) << "allowed is not hidden";
  EXPECT_FALSE(allowed.differences[0].refuses);
  EXPECT_EQ(judgement_of(allowed), Judgement::fine);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, CompareRunsUnlike,
    testing::Values(Unlike{"machine", [](Run& b) { b.environment.cpu = "Xeon"; }},
                    Unlike{"model", [](Run& b) { b.model.fingerprint = "f2"; }},
                    Unlike{"tokenizer", [](Run& b) { b.model.tokenizer_fingerprint = "t2"; }},
                    Unlike{"precision", [](Run& b) { b.model.computed_as = "fp32"; }},
                    Unlike{"build", [](Run& b) { b.environment.build = "Debug"; }},
                    Unlike{"mode", [](Run& b) { b.mode = "full"; }}, Unlike{"seed", [](Run& b) { b.seed = 2; }},
                    Unlike{"experiments",
                           [](Run& b) { b.experiments.push_back({.id = "streams", .state = record::State::done}); }},
                    Unlike{"axes",
                           [](Run& b) {
                             b.experiments[1].rows.push_back({.axes = {{"seq", "128"}}});
                           }}),
    [](const auto& instance) { return std::string(instance.param.name); });

TEST(CompareRuns, ACommitIsNamedAndNotRefused) {
  record::Run b = a_run("b", 5);
  b.environment.commit = "b2";
  row_of(b).path = {"attention/cpu.other"};
  const auto comparison = compared(a_run("a", 1), b);
  ASSERT_EQ(comparison.differences.size(), 2u);
  EXPECT_EQ(comparison.differences[0].name, "commit");
  EXPECT_EQ(comparison.differences[1].name, "path");
  EXPECT_EQ(judgement_of(comparison), Judgement::fine);
}

TEST(CompareRuns, ARowThatIsNoLongerValidMakesTheComparisonInvalid) {
  record::Run b = a_run("b", 5);
  row_of(b).validity = {.valid = false, .reasons = {"the gate failed"}};
  const auto comparison = compared(a_run("a", 1), b);
  EXPECT_EQ(judgement_of(comparison), Judgement::invalid);
  ASSERT_EQ(comparison.invalid.size(), 1u);
  EXPECT_THAT(comparison.invalid[0], HasSubstr("the gate failed"));
}

TEST(CompareRuns, WhatForeignLoadHidIsInconclusiveInEitherRun) {
  const std::string reason = "other processes took 60% of the processors' time";
  for (const bool baseline_loaded : {true, false})
    for (const bool candidate_loaded : {true, false}) {
      record::Run a = a_run("a", 1), b = a_run("b", 5);
      for (record::Run* run : {&a, &b})
        if (run == &a ? baseline_loaded : candidate_loaded)
          for (record::Experiment& experiment : run->experiments)
            for (record::Row& row : experiment.rows)
              row.validity = {.valid = false, .reasons = {reason}, .rules = {"lab.foreign_load"}};
      const auto comparison = compared(a, b);
      if (!baseline_loaded && !candidate_loaded) {
        EXPECT_EQ(judgement_of(comparison), Judgement::fine);
        continue;
      }
      EXPECT_EQ(judgement_of(comparison), Judgement::inconclusive);
      EXPECT_TRUE(comparison.invalid.empty());
      EXPECT_FALSE(comparison.drift) << "the machine's own rates are not known either";
      EXPECT_THAT(comparison.undecided,
                  ElementsAre(testing::AllOf(HasSubstr("attention"), HasSubstr(reason),
                                             HasSubstr(baseline_loaded ? "in the baseline" : "in the candidate"))));
      row_of(b).validity.valid = false;
      row_of(b).validity.reasons.push_back("the gate failed");
      EXPECT_EQ(judgement_of(compared(a_run("a", 1), b)), Judgement::invalid) << "not for foreign load alone";
    }
}

TEST(CompareRuns, UnknownNamesAndEffectsAreUsageErrors) {
  EXPECT_EQ(compare_runs(a_run("a", 1), a_run("b", 1), {.allowed = {"weather"}}).error().kind, ErrorKind::usage);
  EXPECT_EQ(compare_runs(a_run("a", 1), a_run("b", 1), {.smallest_effect = 0}).error().kind, ErrorKind::usage);
}

}  // namespace
}  // namespace rl::lab
