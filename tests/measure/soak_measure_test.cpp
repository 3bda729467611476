// The long form of measure_test: more trials, longer series, and the 40 real pairs. `make soak` keeps what it prints.

#include <cstdio>

#include "check/result.h"
#include "measure/real_pairs.h"
#include "measure/scenarios.h"

namespace rl::measure {
namespace {

using namespace simulated;

class SoakEqualTasks : public testing::TestWithParam<Scenario> {};
class SoakEqualTasksOnOneMachine : public testing::TestWithParam<Scenario> {};

TEST_P(SoakEqualTasks, AreNotCalledDifferent) {
  for (const int pairs : {30, 60, 200}) {
    constexpr int kTrials = 5000;
    const int wrong = false_verdicts(GetParam(), kTrials, pairs);
    std::printf("%s, %d pairs: %d of %d false\n", GetParam().name.c_str(), pairs, wrong, kTrials);
    EXPECT_LE(wrong, kTrials / 100);
  }
}

TEST_P(SoakEqualTasksOnOneMachine, AreNotCalledDifferentHoweverOftenOneLooks) {
  constexpr int kTrials = 2000;
  const int wrong = false_verdicts_peeking(GetParam(), kTrials, 200);
  std::printf("%s, asked after every unit: %d of %d false\n", GetParam().name.c_str(), wrong, kTrials);
  EXPECT_LE(wrong, kTrials / 100);
}

TEST_P(SoakEqualTasks, AreNotCalledDifferentByTheShippedLoop) {
  constexpr int kTrials = 2000;
  int wrong = 0;
  for (std::uint64_t seed = 0; seed < kTrials; ++seed)
    wrong += claims_difference(
        through_the_loop(GetParam(), seed, 1, Plan{.timeout = Seconds{2}, .smallest_effect = kStrict}).comparison);
  std::printf("%s, shipped loop: %d of %d false\n", GetParam().name.c_str(), wrong, kTrials);
  EXPECT_LE(wrong, kTrials / 100);
}

INSTANTIATE_TEST_SUITE_P(All, SoakEqualTasks, testing::ValuesIn(all_scenarios()),
                         [](const auto& instance) { return instance.param.name; });

INSTANTIATE_TEST_SUITE_P(Machines, SoakEqualTasksOnOneMachine, testing::ValuesIn(machines()),
                         [](const auto& instance) { return instance.param.name; });

TEST(SoakRealPairs, OfEqualTasksAreNotCalledDifferent) {
  ASSERT_VALUE(const RealPairs pairs, compare_real_pairs(40, Plan{}));
  std::printf("40 real pairs: %d false, %d the same, %d samples each way\n", pairs.false_verdicts, pairs.same,
              pairs.samples);
  EXPECT_LE(pairs.false_verdicts, 1);
}

}  // namespace
}  // namespace rl::measure
