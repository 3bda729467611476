#include "measure/real_pairs.h"

#include "check/result.h"

namespace rl::measure {
namespace {

// The full 40 are in soak_measure_test.
TEST(RealPairs, OfEqualTasksAreNotCalledDifferent) {
  const Plan plan{.warmup_time = Seconds{0.002}, .min_time = Seconds{0.01}, .timeout = Seconds{0.1}};
  ASSERT_VALUE(const RealPairs pairs, compare_real_pairs(10, plan));
  RecordProperty("false_verdicts", pairs.false_verdicts);
  EXPECT_EQ(pairs.false_verdicts, 0) << pairs.same << " of 10 pairs were the same, of " << pairs.samples << " samples";
}

TEST(RealPairs, ATaskTwiceAsLongIsFound) {
  const Plan plan{.warmup_time = Seconds{0.002}, .min_time = Seconds{0.01}, .timeout = Seconds{1}};
  const Task once = busy_task("once");
  const Task twice{.name = "twice", .run = [&]() -> Status {
                     RL_TRY(once.run());
                     return once.run();
                   }};
  ASSERT_VALUE(const PairResult pair, run_pair(plan, twice, once));
  EXPECT_EQ(pair.comparison.verdict, record::Verdict::better);
  EXPECT_NEAR(pair.comparison.ratio, 2, 0.3);
}

}  // namespace
}  // namespace rl::measure
