#include "kill_runs.h"

namespace rl::e2e {
namespace {

TEST(SoakResume, TwoHundredKillsLoseAndDoubleNothing) {
  const KillTally tally = kill_runs(200, 20261123);
  expect_nothing_lost(tally);
  for (std::size_t stage = 0; stage < kStages.size(); ++stage) EXPECT_GT(tally.at[stage], 0) << kStages[stage];
}

}  // namespace
}  // namespace rl::e2e
