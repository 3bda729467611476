#include "lab/conclude.h"

#include "check/result.h"

namespace rl::lab {
namespace {

using record::Outcome;

TEST(IntervalText, SaysWhenThereIsNone) {
  EXPECT_EQ(interval_text({1.204, 1.5}), "95% interval 1.20 to 1.50");
  EXPECT_EQ(interval_text({0, std::numeric_limits<double>::infinity()}), "too few samples for an interval");
}

TEST(GeometricMean, OfRatiosAndOfTheirBounds) {
  const auto mean = geometric_mean({{2, {1, 4}}, {8, {4, 16}}});
  ASSERT_TRUE(mean);
  EXPECT_DOUBLE_EQ(mean->value, 4);
  EXPECT_DOUBLE_EQ(mean->interval.low, 2);
  EXPECT_DOUBLE_EQ(mean->interval.high, 8);
  EXPECT_FALSE(geometric_mean({}));
}

record::Experiment with(std::vector<Outcome> outcomes) {
  record::Experiment record;
  for (const Outcome outcome : outcomes) record.hypotheses.push_back({.outcome = outcome});
  return record;
}

TEST(Overall, TheWorstDecides) {
  EXPECT_EQ(overall(with({Outcome::holds, Outcome::exceeds})), Outcome::exceeds);
  EXPECT_EQ(overall(with({Outcome::holds, Outcome::inconclusive, Outcome::exceeds})), Outcome::inconclusive);
  EXPECT_EQ(overall(with({Outcome::inconclusive, Outcome::refuted})), Outcome::refuted);
  EXPECT_EQ(overall(with({Outcome::invalid, Outcome::refuted})), Outcome::invalid);
  EXPECT_EQ(overall(with({Outcome::skipped, Outcome::holds})), Outcome::holds);
  EXPECT_EQ(overall(with({Outcome::skipped})), Outcome::skipped);
}

TEST(ConcludeHypothesis, JudgesWhatWasMeasuredAndSaysWhyIfNothingWas) {
  record::Experiment record;
  record.hypotheses = {{.id = "speed", .expected = {2, 4}}, {.id = "memory", .expected = {10, 20}}};
  conclude_hypothesis(record, "speed", Estimate{1.5, {1.4, 1.6}}, "");
  conclude_hypothesis(record, "memory", std::nullopt, "no point was long enough");
  EXPECT_EQ(record.hypotheses[0].outcome, Outcome::refuted);
  EXPECT_EQ(record.hypotheses[0].measured_value, 1.5);
  EXPECT_EQ(record.hypotheses[1].outcome, Outcome::inconclusive);
  EXPECT_EQ(record.hypotheses[1].reason, "no point was long enough");
}

}  // namespace
}  // namespace rl::lab
