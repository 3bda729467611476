#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "measure/scenarios.h"

namespace rl::measure {
namespace {

using record::Better;
using record::Verdict;
using namespace simulated;

// At most 1% of false verdicts, on each machine by itself.
class EqualTasks : public testing::TestWithParam<Scenario> {};

TEST_P(EqualTasks, AreNotCalledDifferent) { EXPECT_LE(false_verdicts(GetParam(), 1000, 30), 10); }

TEST_P(EqualTasks, AreNotCalledDifferentByTheShippedLoop) {
  const Plan plan{.timeout = Seconds{1}, .smallest_effect = kStrict};
  int wrong = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed)
    wrong += claims_difference(through_the_loop(GetParam(), seed, 1, plan).comparison);
  EXPECT_LE(wrong, 2);
}

INSTANTIATE_TEST_SUITE_P(All, EqualTasks, testing::ValuesIn(all_scenarios()),
                         [](const auto& instance) { return instance.param.name; });

class EqualTasksOnOneMachine : public testing::TestWithParam<Scenario> {};

TEST_P(EqualTasksOnOneMachine, AreNotCalledDifferentFromFewPairs) {
  EXPECT_LE(false_verdicts(GetParam(), 1000, 10), 10);
}

TEST_P(EqualTasksOnOneMachine, AreNotCalledDifferentHoweverOftenOneLooks) {
  EXPECT_LE(false_verdicts_peeking(GetParam(), 400, 60), 4);
}

INSTANTIATE_TEST_SUITE_P(Machines, EqualTasksOnOneMachine, testing::ValuesIn(machines()),
                         [](const auto& instance) { return instance.param.name; });

TEST(PlantedDifference, OfThreePercentAtOnePercentNoiseIsFound) {
  int found_by_loop = 0, found_in_30_pairs = 0;
  double ratios = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const record::Comparison loop = through_the_loop(machines()[0], seed, 1.03, Plan{}).comparison;
    found_by_loop += loop.verdict == Verdict::better;
    ratios += loop.ratio / 200;
    const Series s = interleaved(white(seed), 30, 1.03);
    found_in_30_pairs += compare_pairs(s.a, s.b, Better::lower, Plan{}.smallest_effect).verdict == Verdict::better;
  }
  EXPECT_GE(found_by_loop, 190);
  EXPECT_GE(found_in_30_pairs, 180);
  EXPECT_NEAR(ratios, 1.03, 0.001);
}

TEST(PlantedDifference, IsFoundOnDriftingMachinesToo) {
  for (const Scenario& scenario : machines()) {
    if (scenario.name == "white_10_percent") continue;
    int found = 0;
    for (std::uint64_t seed = 0; seed < 40; ++seed)
      found +=
          through_the_loop(scenario, seed, 1.03, Plan{.timeout = Seconds{5}}).comparison.verdict == Verdict::better;
    EXPECT_GE(found, 36) << scenario.name;
  }
}

TEST(PlantedDifference, IsWorseInTheOtherDirectionAndForRates) {
  const Series s = interleaved(white(7), 40, 1.05);
  EXPECT_EQ(compare_pairs(s.a, s.b, Better::lower, 0.02).verdict, Verdict::better);
  EXPECT_EQ(compare_pairs(s.b, s.a, Better::lower, 0.02).verdict, Verdict::worse);
  EXPECT_EQ(compare_pairs(s.a, s.b, Better::higher, 0.02).verdict, Verdict::worse);
  const record::Comparison time = compare_pairs(s.a, s.b, Better::lower, 0.02);
  const record::Comparison rate = compare_pairs(s.a, s.b, Better::higher, 0.02);
  EXPECT_NEAR(time.ratio, 1.05, 0.01);
  EXPECT_NEAR(time.ratio * rate.ratio, 1, 1e-12);
  EXPECT_NEAR(time.ci95.low * rate.ci95.high, 1, 1e-12);
}

TEST(PlantedDifference, OfOnePercentIsTheSameWhereTwoPercentCounts) {
  const Series s = interleaved(white(3), 200, 1.01);
  EXPECT_EQ(compare_pairs(s.a, s.b, Better::lower, 0.02).verdict, Verdict::same);
  EXPECT_EQ(compare_pairs(s.a, s.b, Better::lower, 0.005).verdict, Verdict::better);
}

TEST(Comparison, OfTooFewOrTooNoisyPairsIsInconclusive) {
  const Series few = interleaved(white(1), 8, 2);
  EXPECT_EQ(compare_pairs(few.a, few.b, Better::lower, 0.02).verdict, Verdict::inconclusive);
  const Series noisy = interleaved(white(1, 0.3), 12, 1.03);
  EXPECT_EQ(compare_pairs(noisy.a, noisy.b, Better::lower, 0.02).verdict, Verdict::inconclusive);
}

TEST(Comparison, WithoutUnitsHasNoInterval) {
  const double a[] = {2, 2, 2, 2}, b[] = {1, 1, 1, 1};
  const record::Comparison two_units = compare_pairs(a, b, Better::lower, 0.02);
  EXPECT_DOUBLE_EQ(two_units.ratio, 2);
  EXPECT_EQ(two_units.ci95.low, 0);
  EXPECT_EQ(two_units.ci95.high, std::numeric_limits<double>::infinity());
  EXPECT_EQ(two_units.verdict, Verdict::inconclusive);
  EXPECT_TRUE(std::isnan(compare_pairs({}, {}, Better::lower, 0.02).ratio));
  const double bad[] = {1, std::numeric_limits<double>::quiet_NaN(), 1, 1};
  EXPECT_TRUE(std::isnan(compare_pairs(a, bad, Better::lower, 0.02).ratio));
}

TEST(Comparison, ALinearDriftCancelsInEveryUnit) {
  // No noise: b is 10% faster while the machine gets 1% slower with each run.
  Series s;
  double speed = 1;
  for (int i = 0; i < 40; ++i)
    for (const int task : {i % 2, 1 - i % 2}) {
      (task == 0 ? s.a : s.b).push_back(std::exp(speed) * (task == 0 ? 1.1 : 1));
      speed += 0.01;
    }
  const record::Comparison comparison = compare_pairs(s.a, s.b, Better::lower, 0.02);
  EXPECT_NEAR(comparison.ratio, 1.1, 1e-9);
  EXPECT_NEAR(comparison.ci95.high - comparison.ci95.low, 0, 1e-9);
}

TEST(Comparison, OfAMachineThatChangedHalfWayReachesNoFartherThanItsUnits) {
  Series s = interleaved(white(5), 38);
  for (std::size_t i = 0; i < s.a.size(); ++i) s.a[i] *= i < s.a.size() / 2 ? 1.3 : 1.07;
  const record::Comparison comparison = compare_pairs(s.a, s.b, Better::lower, 0.02);
  EXPECT_GT(comparison.ci95.low, 1.03);
  EXPECT_LT(comparison.ci95.high, 1.34);
  // Both levels are in it: which of them comes next is not known.
  EXPECT_LT(comparison.ci95.low, 1.08);
  EXPECT_GT(comparison.ci95.high, 1.28);
  const record::Comparison unbounded = compare_pairs_unbounded(s.a, s.b, Better::lower, 0.02);
  EXPECT_EQ(unbounded.ratio, comparison.ratio);
  EXPECT_EQ(unbounded.verdict, comparison.verdict);
  EXPECT_GT(unbounded.ci95.high, 1.5) << "one degree of freedom";
}

TEST(Comparison, OfThirtyPairsHoldsTheTrueRatioNineteenTimesInTwenty) {
  for (const Scenario& scenario : all_scenarios()) {
    int held = 0;
    for (std::uint64_t seed = 0; seed < 2000; ++seed) {
      const Series s = interleaved(scenario.make(7919 * seed + 1), 30);
      const record::Interval interval = compare_pairs(s.a, s.b, Better::lower, 0.02).ci95;
      held += interval.low <= 1 && 1 <= interval.high;
    }
    EXPECT_GE(held, 1860) << scenario.name;
  }
}

TEST(Comparison, FewWildPairsDoNotMoveIt) {
  Series s = interleaved(white(11), 60);
  for (const std::size_t i : {5u, 17u, 40u}) s.a[i] *= 50;
  const record::Comparison comparison = compare_pairs(s.a, s.b, Better::lower, 0.02);
  EXPECT_NEAR(comparison.ratio, 1, 0.01);
  EXPECT_EQ(comparison.verdict, Verdict::same);
}

}  // namespace
}  // namespace rl::measure
