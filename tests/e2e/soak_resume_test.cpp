#include "kill_runs.h"

namespace rl::e2e {
namespace {

TEST(SoakResume, TwoHundredKillsLoseAndDoubleNothing) { expect_nothing_lost(kill_runs(200, 20261123)); }

}  // namespace
}  // namespace rl::e2e
