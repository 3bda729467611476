#include "lab/hypothesis.h"

#include <limits>

#include <gtest/gtest.h>

namespace rl::lab {
namespace {

using record::Interval;
using record::Outcome;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

record::Hypothesis expecting(Interval expected) { return {.id = "attention.speed", .expected = expected}; }

TEST(Hypothesis, OutcomeFollowsTheAlgebraAtEveryBoundary) {
  struct Case {
    Interval measured;
    Outcome outcome;
  };
  const Interval expected{2, 4};
  const Case cases[] = {
      {{1.0, 1.999}, Outcome::refuted},    {{1.0, 2.0}, Outcome::inconclusive},  // b = lo: not below
      {{1.0, 5.0}, Outcome::inconclusive}, {{1.999, 2.1}, Outcome::inconclusive},
      {{2.0, 2.1}, Outcome::holds},  // a = lo
      {{2.0, 9.0}, Outcome::holds},        {{3.0, 3.0}, Outcome::holds},
      {{4.0, 5.0}, Outcome::holds},  // a = hi
      {{4.001, 5.0}, Outcome::exceeds},    {{-kInfinity, kInfinity}, Outcome::inconclusive},
  };
  for (const Case& c : cases)
    EXPECT_EQ(outcome_of(c.measured, expected), c.outcome) << c.measured.low << " .. " << c.measured.high;
}

TEST(Hypothesis, EveryPairOfIntervalsHasExactlyOneOutcomeAndItIsTheAlgebrasOne) {
  for (int a = 0; a < 6; ++a)
    for (int b = a; b < 6; ++b)
      for (int lo = 0; lo < 6; ++lo)
        for (int hi = lo; hi < 6; ++hi) {
          const Outcome outcome = outcome_of({double(a), double(b)}, {double(lo), double(hi)});
          EXPECT_EQ(outcome == Outcome::refuted, b < lo);
          EXPECT_EQ(outcome == Outcome::exceeds, a > hi);
          EXPECT_EQ(outcome == Outcome::holds, a >= lo && a <= hi);
          EXPECT_EQ(outcome == Outcome::inconclusive, a < lo && b >= lo);
        }
}

TEST(Hypothesis, AnOpenUpperEndIsNeverExceeded) { EXPECT_EQ(outcome_of({100, 200}, {2, kInfinity}), Outcome::holds); }

TEST(Hypothesis, NaNAnywhereIsInvalid) {
  EXPECT_EQ(outcome_of({kNaN, 3}, {2, 4}), Outcome::invalid);
  EXPECT_EQ(outcome_of({3, kNaN}, {2, 4}), Outcome::invalid);
  EXPECT_EQ(outcome_of({3, 3}, {kNaN, 4}), Outcome::invalid);
  EXPECT_EQ(outcome_of({3, 3}, {2, kNaN}), Outcome::invalid);
  auto hypothesis = expecting({2, 4});
  hypothesis.measured = Interval{2.5, 3};
  hypothesis.measured_value = kNaN;
  judge(hypothesis);
  EXPECT_EQ(hypothesis.outcome, Outcome::invalid);
  EXPECT_NE(hypothesis.reason, "");
}

TEST(Hypothesis, IntervalsUpsideDownOrWithoutTheirValueAreInvalid) {
  EXPECT_EQ(outcome_of({3, 2}, {2, 4}), Outcome::invalid);
  EXPECT_EQ(outcome_of({2, 3}, {4, 2}), Outcome::invalid);
  auto hypothesis = expecting({2, 4});
  hypothesis.measured = Interval{2.5, 3};
  hypothesis.measured_value = 3.5;
  judge(hypothesis);
  EXPECT_EQ(hypothesis.outcome, Outcome::invalid);
}

TEST(Hypothesis, JudgingClearsAnOldReasonAndExplainsAnInconclusiveOutcome) {
  auto hypothesis = expecting({2, 4});
  hypothesis.reason = "not yet run";
  hypothesis.measured = Interval{2.5, 3};
  hypothesis.measured_value = 2.75;
  judge(hypothesis);
  EXPECT_EQ(hypothesis.outcome, Outcome::holds);
  EXPECT_EQ(hypothesis.reason, "");
  hypothesis.measured = Interval{1.5, 3};
  judge(hypothesis);
  EXPECT_EQ(hypothesis.outcome, Outcome::inconclusive);
  EXPECT_EQ(hypothesis.reason, "the interval [1.50, 3.00] has the least expected, 2.00, inside");
}

TEST(Hypothesis, NothingMeasuredIsInconclusiveUnlessAReasonSaysWhy) {
  auto hypothesis = expecting({2, 4});
  judge(hypothesis);
  EXPECT_EQ(hypothesis.outcome, Outcome::inconclusive);
  EXPECT_EQ(hypothesis.reason, "nothing was measured");
  auto skipped = expecting({2, 4});
  skipped.outcome = Outcome::skipped;
  skipped.reason = "needs a GPU";
  judge(skipped);
  EXPECT_EQ(skipped.outcome, Outcome::skipped);
  EXPECT_EQ(skipped.reason, "needs a GPU");
}

TEST(Hypothesis, FaultsMakeItInvalidHoweverGoodTheNumbersLook) {
  auto hypothesis = expecting({2, 4});
  hypothesis.measured = Interval{2.5, 3};
  hypothesis.measured_value = 2.75;
  const std::vector<std::string> faults{"seq 128: flash differs from the oracle", "the GPU was shared"};
  judge(hypothesis, faults);
  EXPECT_EQ(hypothesis.outcome, Outcome::invalid);
  EXPECT_EQ(hypothesis.reason, "seq 128: flash differs from the oracle; the GPU was shared");
}

}  // namespace
}  // namespace rl::lab
