// What `redline verify` and `redline report` meet in records of other versions, and in damaged ones: rows that lack
// what a conclusion looks for.

#include <fstream>
#include <set>

#include "experiments/combined_conclude.h"
#include "experiments/fixture.h"
#include "experiments/graphs.h"
#include "experiments/quantization_conclude.h"
#include "record/json.h"

namespace rl::experiments {
namespace {

class Conclusions : public ExperimentsTest, public testing::WithParamInterface<const char*> {
 protected:
  void conclude(record::Experiment record) {
    const std::unique_ptr<lab::Experiment> experiment = find(record.id)->make();
    if (!experiment->concludes_from_record()) return;
    lab::Context context{.backend = backend_, .oracle = oracle_, .memory = memory_, .model = model_};
    record.hypotheses = experiment->info().hypotheses;
    record.charts.clear();
    const Status status = experiment->conclude(context, record);
    EXPECT_TRUE(status) << status.error().what;
    ++concluded_;
  }

  int concluded_ = 0;
};

TEST_P(Conclusions, LackAnyAxisOrMetricOrHaveAnAxisThatIsNoNumber) {
  std::ifstream file(REDLINE_SOURCE_DIR "/docs/results/" + std::string(GetParam()) + "/record.json");
  const std::string json{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  ASSERT_VALUE(const record::Run run, record::from_json(json, "record.json"));
  for (const record::Experiment& whole : run.experiments) {
    if (whole.state != record::State::done || find(whole.id) == nullptr) continue;
    SCOPED_TRACE(whole.id);
    conclude(whole);
    std::set<std::string> axes, metrics;
    for (const record::Row& row : whole.rows) {
      for (const auto& [name, value] : row.axes) axes.insert(name);
      for (const record::Metric& metric : row.metrics) metrics.insert(metric.name);
    }
    for (const std::string& name : axes) {
      record::Experiment lacks = whole, odd = whole;
      for (record::Row& row : lacks.rows) std::erase_if(row.axes, [&](const auto& axis) { return axis.first == name; });
      for (record::Row& row : odd.rows)
        for (auto& [axis, value] : row.axes)
          if (axis == name) value = "x";
      conclude(std::move(lacks));
      conclude(std::move(odd));
    }
    for (const std::string& name : metrics) {
      record::Experiment lacks = whole;
      for (record::Row& row : lacks.rows)
        std::erase_if(row.metrics, [&](const record::Metric& metric) { return metric.name == name; });
      conclude(std::move(lacks));
    }
  }
  EXPECT_GT(concluded_, 100);
}

INSTANTIATE_TEST_SUITE_P(Records, Conclusions,
                         testing::Values("2026-11-23-cpu-zen5-2core/quick", "2026-11-23-cpu-zen5-2core/full",
                                         "2026-11-29-h200/full"),
                         [](const auto& record) {
                           std::string name = record.param;
                           std::replace_if(
                               name.begin(), name.end(),
                               [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); }, '_');
                           return name;
                         });

TEST(Quantization, SaysOfWhichFormatsAnIntervalReachesBeyondALimit) {
  const auto row = [](const char* format, double bytes, const record::Interval& kld) {
    const auto metric = [](const char* name, double value, const record::Interval& interval) {
      record::Metric made{.name = name, .unit = "1", .value = value, .statistic = "mean"};
      made.ci95 = interval;
      return made;
    };
    return record::Row{
        .axes = {{"format", format}, {"shape", record::kOwnModel}},
        .metrics = {metric("weight_bytes", bytes, {bytes, bytes}), metric("perplexity_ratio", 1.001, {1.0, 1.002}),
                    metric("mean_kld", (kld.low + kld.high) / 2, kld)}};
  };
  record::Experiment record{.id = "quantization",
                            .rows = {row("bf16", 100, {0, 0}), row("fp8", 50, {0.009, 0.0108}),
                                     row("int8", 50, {0.004, 0.005}), row("int8-wo", 50, {0.02, 0.03})}};
  record.hypotheses = find("quantization")->info.hypotheses;
  conclude_formats(record);
  EXPECT_THAT(record.meaning,
              testing::HasSubstr("all but int8-wo stay within mean KLD 0.01 and perplexity +1.0%, though "
                                 "95% intervals of fp8 reach beyond."));
}

TEST(Combined, ATechniqueWithoutAVerdictIsNotCalledWorthless) {
  using record::Verdict;
  const auto advice_on_batching = [](Verdict alone, Verdict queue) {
    const auto row = [](const char* rung) {
      return record::Row{.axes = {{"rung", rung}},
                         .metrics = {{.name = "memory_bytes", .unit = "B", .value = 100, .statistic = "count"}}};
    };
    record::Experiment record{.id = "combined", .rows = {row("baseline"), row("batching"), row("without-batching")}};
    record.hypotheses = find("combined")->info.hypotheses;
    for (const char* const metric : {kOneRequest, kQueue}) {
      const record::Comparison found{
          .metric = metric, .ratio = 2, .ci95 = {1.9, 2.1}, .verdict = metric == kQueue ? queue : alone};
      record.comparisons.push_back(found);
      record.comparisons.back().baseline = "baseline", record.comparisons.back().candidate = "batching";
      record.comparisons.push_back(found);
      record.comparisons.back().baseline = "without-batching", record.comparisons.back().candidate = "all";
    }
    conclude_ladder(record, {});
    return record.advice;
  };
  EXPECT_EQ(advice_on_batching(Verdict::same, Verdict::better), "Use continuous batching.");
  EXPECT_EQ(
      advice_on_batching(Verdict::same, Verdict::inconclusive),
      "Nothing here surely earns its place on this machine. Too little was measured to judge continuous batching.");
  EXPECT_EQ(advice_on_batching(Verdict::worse, Verdict::inconclusive),
            "Nothing here earns its place on this machine: stay with the baseline. Not worth it here: continuous "
            "batching.");
  EXPECT_EQ(advice_on_batching(Verdict::same, Verdict::same),
            "Nothing here earns its place on this machine: stay with the baseline. Not worth it here: continuous "
            "batching.");
}

TEST(Graphs, WhatTakesLongerThanLaunchesIsSaidToTakeMore) {
  record::Experiment record{.id = "graphs"};
  record.hypotheses = find("graphs")->info.hypotheses;
  const auto add = [&](const char* variant, double ratio) {
    const auto label = [](const char* name) { return fmt::format("{}, load decode, batch 1", name); };
    record.rows.push_back({.axes = {{"variant", variant}, {"load", "decode"}, {"batch", "1"}},
                           .metrics = {{.name = "parameters", .unit = "1", .value = 7e6, .statistic = "count"}}});
    if (variant == kLaunched) return;
    record.comparisons.push_back({.baseline = label(kLaunched),
                                  .candidate = label(variant),
                                  .metric = "time",
                                  .ratio = ratio,
                                  .ci95 = {ratio - 0.01, ratio + 0.01}});
  };
  add(kLaunched, 1);
  add(kCaptured, 1 / 0.9);
  add(kPlain, 1 / 1.06);
  add(kInStep, 1 / 0.95);
  conclude_graphs(record);
  EXPECT_EQ(record.measured, "10% less latency");
  EXPECT_THAT(record.meaning, testing::HasSubstr("take 10% less time than launched ones"));
  EXPECT_THAT(record.meaning, testing::HasSubstr("; 6.0% more with plain edges between their kernels; 5.0% less if the "
                                                 "host waits for each step before it queues the next."));
}

}  // namespace
}  // namespace rl::experiments
