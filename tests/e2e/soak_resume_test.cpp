#include "kill_runs.h"

namespace rl::e2e {
namespace {

TEST(SoakResume, TwoHundredKillsLoseAndDoubleNothing) {
  const KillTally tally = kill_runs(200, 20261123);
  expect_nothing_lost(tally);
  // All but the last: between its last file and its end a run has nothing left to lose, and hardly any time.
  for (std::size_t stage = 0; stage + 1 < kStages.size(); ++stage) EXPECT_GT(tally.at[stage], 0) << kStages[stage];
}

}  // namespace
}  // namespace rl::e2e
