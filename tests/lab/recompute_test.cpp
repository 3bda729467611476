// Every summary of a record follows from its samples; one that does not is named.

#include "lab/recompute.h"

#include <gmock/gmock.h>

#include "lab/conclude.h"
#include "record/json.h"

namespace rl::lab {
namespace {

using testing::HasSubstr;

// Concludes from the comparison alone.
class Concluding final : public Experiment {
 public:
  static const Info& the_info() {
    static const Info info{.id = "e", .hypotheses = {{.id = "e.speed", .expected = {1.5, 4}}}};
    return info;
  }
  const Info& info() const override { return the_info(); }
  Status measure(Context&, const Point&, record::Experiment&) override { return ok(); }
  bool concludes_from_record() const override { return true; }
  Status conclude(Context& context, record::Experiment& record) override {
    const record::Comparison& comparison = record.comparisons.at(0);
    conclude_hypothesis(record, "e.speed", Estimate{comparison.ratio, comparison.ci95}, "");
    record.outcome = overall(record);
    record.measured = fmt::format("{:.3f}x", comparison.ratio);
    record.meaning = context.model.name + " is faster.";
    record.advice = "Use it.";
    return ok();
  }
};

class RecomputeTest : public testing::Test {
 protected:
  RecomputeTest() {
    record::Metric slow{.name = "time", .unit = "s", .better = record::Better::lower, .seed = 3}, fast = slow;
    for (int i = 0; i < 40; ++i) {
      slow.samples.push_back(2 + 0.1 * std::fmod(i * 0.6180339887, 1));
      fast.samples.push_back(1 + 0.1 * std::fmod(i * 0.4142135623, 1));
    }
    measure::summarise(slow);
    measure::summarise(fast);
    record::Comparison comparison = measure::compare_pairs(slow.samples, fast.samples, slow.better, 0.02);
    comparison.baseline = "slow";
    comparison.candidate = "fast";
    record::Metric late = slow;  // without a seed of its own: the run's
    late.name = "late_time";
    late.seed = 0;
    record::Metric with_runs_seed = slow;
    with_runs_seed.seed = run_.seed = 9;
    measure::summarise(with_runs_seed);
    late.ci95 = with_runs_seed.ci95;
    experiment_ = {.id = "e",
                   .state = record::State::done,
                   .hypotheses = Concluding::the_info().hypotheses,
                   .rows = {{.metrics = {slow, measure::rate_of(slow, "rate", "tok/s", 100), late}},
                            {.metrics = {fast,
                                         measure::rate_of(fast, "rate", "tok/s", 100),
                                         {.name = "bytes", .value = 5, .statistic = "count"}}}},
                   .comparisons = {comparison}};
    model_.name = "demo";
    EXPECT_TRUE(Concluding().conclude(context_, experiment_));
    experiment_ = *record::experiment_from_json(record::to_json(experiment_), "e");  // as it is kept
  }
  Recomputation check(const record::Experiment& experiment) {
    const Entry entry{Concluding::the_info(),
                      []() -> std::unique_ptr<Experiment> { return std::make_unique<Concluding>(); }};
    return recompute(run_, experiment, &entry, context_);
  }

  ops::Backend backend_;
  ops::Oracle oracle_;
  CountingResource memory_{host_memory()};
  model::ModelSource model_;
  Context context_{.backend = backend_, .oracle = oracle_, .memory = memory_, .model = model_};
  record::Run run_;
  record::Experiment experiment_;
};

TEST_F(RecomputeTest, WhatWasComputedIsComputedAgainToTheBit) {
  const Recomputation again = check(experiment_);
  EXPECT_TRUE(again.findings.empty()) << again.findings[0].where << " " << again.findings[0].what;
  EXPECT_EQ(again.metrics, 5);
  EXPECT_EQ(again.comparisons, 1);
  EXPECT_EQ(again.outcomes, 2);
  EXPECT_EQ(again.concluded, 1);
}

// Its interval would reach far beyond its samples; older programs let it.
TEST_F(RecomputeTest, AnUnboundedIntervalIsAnOlderRecordsAlone) {
  record::Metric slow{.name = "moved", .unit = "s", .better = record::Better::lower, .seed = 3}, fast = slow;
  for (int i = 0; i < 38; ++i) {
    slow.samples.push_back((i < 19 ? 1.3 : 1.07) * (1 + 0.01 * std::fmod(i * 0.6180339887, 1)));
    fast.samples.push_back(1 + 0.01 * std::fmod(i * 0.4142135623, 1));
  }
  measure::summarise(slow);
  measure::summarise(fast);
  record::Comparison unbounded = measure::compare_pairs_unbounded(slow.samples, fast.samples, slow.better, 0.02);
  ASSERT_NE(unbounded.ci95.high, measure::compare_pairs(slow.samples, fast.samples, slow.better, 0.02).ci95.high);
  experiment_.rows.push_back({.metrics = {slow}});
  experiment_.rows.push_back({.metrics = {fast}});
  experiment_.comparisons.push_back(unbounded);
  run_.started = "2026-11-29T23:59:59Z";
  EXPECT_TRUE(check(experiment_).findings.empty());
  run_.started = "2026-11-30T00:00:00Z";
  EXPECT_EQ(check(experiment_).findings.size(), 1U);
}

// The last bit of a number.
void nudge(double& value) { value = std::nextafter(value, 1e9); }

struct Change {
  const char* name;
  void (*apply)(record::Experiment&);
  const char* where;
};
class RecomputeChanges : public RecomputeTest, public testing::WithParamInterface<Change> {};

TEST_P(RecomputeChanges, OneChangedSummaryIsNamed) {
  GetParam().apply(experiment_);
  const Recomputation again = check(experiment_);
  ASSERT_FALSE(again.findings.empty());
  std::string all;
  for (const record::Finding& finding : again.findings) all += finding.where + " " + finding.what + "\n";
  EXPECT_THAT(all, HasSubstr(GetParam().where));
}

using record::Experiment;
INSTANTIATE_TEST_SUITE_P(
    Cases, RecomputeChanges,
    testing::Values(
        Change{"value", [](Experiment& e) { nudge(e.rows[0].metrics[0].value); }, "e, row 1, time: value"},
        Change{"rate", [](Experiment& e) { nudge(e.rows[1].metrics[1].value); }, "e, row 2, rate: value"},
        Change{"bound", [](Experiment& e) { nudge(e.rows[0].metrics[0].ci95->high); }, "time: interval"},
        Change{"no_interval", [](Experiment& e) { e.rows[0].metrics[0].ci95.reset(); }, "time: interval"},
        Change{"noise", [](Experiment& e) { nudge(*e.rows[0].metrics[0].noise); }, "time: noise"},
        Change{"outliers", [](Experiment& e) { ++e.rows[0].metrics[0].outliers; }, "time: outliers"},
        Change{"statistic", [](Experiment& e) { e.rows[0].metrics[0].statistic = "luck"; }, "no formula"},
        Change{"sample", [](Experiment& e) { e.rows[0].metrics[0].samples[17] *= 1.5; }, "e, row 1, time: noise"},
        Change{"ratio", [](Experiment& e) { nudge(e.comparisons[0].ratio); }, "e, fast against slow"},
        Change{"ratio_interval", [](Experiment& e) { nudge(e.comparisons[0].ci95.low); }, "e, fast against slow"},
        Change{"verdict", [](Experiment& e) { e.comparisons[0].verdict = record::Verdict::same; }, "no two series"},
        Change{"outcome_of_hypothesis", [](Experiment& e) { e.hypotheses[0].outcome = record::Outcome::exceeds; },
               "e.speed: outcome"},
        Change{"measured", [](Experiment& e) { nudge(e.hypotheses[0].measured->low); }, "e.speed: measured"},
        Change{"expected", [](Experiment& e) { e.hypotheses[0].expected.low = 1.4; }, "e.speed: expected"},
        Change{"headline_outcome", [](Experiment& e) { e.outcome = record::Outcome::refuted; }, "e: outcome"},
        Change{"headline", [](Experiment& e) { e.measured = "9x"; }, "e: measured"},
        Change{"meaning", [](Experiment& e) { e.meaning += "!"; }, "e: meaning"},
        Change{"advice", [](Experiment& e) { e.advice = ""; }, "e: advice"}),
    [](const auto& instance) { return std::string(instance.param.name); });

}  // namespace
}  // namespace rl::lab
