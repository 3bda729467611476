// The long form of Store.KeepsWhatItAcknowledgedWhenKilled. `make soak` keeps what it prints.

#include <cstdio>

#include <gtest/gtest.h>

#include "folder.h"
#include "kill_writer.h"

namespace rl::record {
namespace {

TEST(SoakStore, KeepsWhatItAcknowledgedWhenKilled) {
  constexpr int kKills = 1000;
  const TemporaryFolder folder;
  const KillCount count = kill_writers(folder.path(), kKills, 2);
  std::printf("%d kills: %d experiments acknowledged, %d lost, %d damaged\n", kKills, count.acknowledged, count.lost,
              count.damaged);
  EXPECT_GT(count.acknowledged, kKills);
  EXPECT_EQ(count.lost, 0);
  EXPECT_EQ(count.damaged, 0);
}

}  // namespace
}  // namespace rl::record
