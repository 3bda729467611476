#include "kill_runs.h"

namespace rl::e2e {
namespace {

TEST(SoakResume, TwoHundredKillsLoseAndDoubleNothing) {
  const KillTally tally = kill_runs(200, 20261123);
  expect_nothing_lost(tally);
  // The moments reach from the program's first step into the last experiment. After it, the files take so few
  // milliseconds that none may fall there: the tally is printed.
  EXPECT_GT(tally.at[0], 0);
  EXPECT_GT(tally.at[1], 0) << "while the second experiment was measured";
  EXPECT_GT(tally.at[3], 0) << "while the last experiment was measured";
}

}  // namespace
}  // namespace rl::e2e
