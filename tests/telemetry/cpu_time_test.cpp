#include "telemetry/cpu_time.h"

#include <fstream>

#include <gmock/gmock.h>
#include <unistd.h>

#include "base/clock.h"

namespace rl::telemetry {
namespace {

namespace fs = std::filesystem;

TEST(BusyTime, IsThatOfTheGivenProcessorsWithoutIdleWaitingAndGuests) {
  const fs::path root = fs::temp_directory_path() / fmt::format("redline-stat-{}", ::getpid());
  fs::create_directories(root / "proc");
  std::ofstream(root / "proc/stat") << "cpu  9999 0 0 0 0 0 0 0 0 0\n"
                                       "cpu0 100 20 30 5000 700 4 5 6 90 9\n"
                                       "cpu1 1 0 0 5000 0 0 0 0 0 0\n"
                                       "cpu10 1000 0 0 5000 0 0 0 0 0 0\n"
                                       "intr 5 6 7\n";
  ASSERT_TRUE(busy_time(root, {0}, 100));
  EXPECT_DOUBLE_EQ(busy_time(root, {0}, 100)->count, 1.65);
  EXPECT_DOUBLE_EQ(busy_time(root, {0, 10}, 100)->count, 11.65);
  EXPECT_FALSE(busy_time(root, {0, 7}, 100)) << "one of them is not there";
  EXPECT_FALSE(busy_time(root, {}, 100));
  std::ofstream(root / "proc/stat") << "cpu0 1 2\n";
  EXPECT_FALSE(busy_time(root, {0}, 100)) << "an older kernel's";
  fs::remove_all(root);
  EXPECT_FALSE(busy_time(root, {0}, 100));
}

TEST(ForeignShare, IsWhatThisProcessDidNotUseOfTheBusyTime) {
  const CpuTime begin{.wall = {10}, .busy = {50}, .own = {1}, .cpus = 4};
  const auto share = [&](double wall, double busy, double own) {
    return foreign_share(begin, {.wall = {wall}, .busy = {busy}, .own = {own}, .cpus = 4});
  };
  EXPECT_DOUBLE_EQ(share(12, 56, 3), 0.5);
  EXPECT_DOUBLE_EQ(share(12, 52, 3), 0);
  EXPECT_DOUBLE_EQ(share(12, 51, 3), 0) << "ticks lag behind";
  EXPECT_DOUBLE_EQ(share(12, 99, 3), 1);
  EXPECT_DOUBLE_EQ(share(10, 50, 1), 0);
}

TEST(ReadCpuTime, CountsThisProcessInIt) {
  const auto begin = read_cpu_time();
  if (!begin) GTEST_SKIP() << "this system has no /proc/stat by processor";
  EXPECT_GT(begin->cpus, 0);
  const Seconds before = process_cpu_time();
  while (process_cpu_time() - before < Seconds{0.02}) {}
  const auto end = read_cpu_time();
  ASSERT_TRUE(end);
  EXPECT_GE(end->own - begin->own, Seconds{0.02});
  EXPECT_GE(end->busy, begin->busy);
}

}  // namespace
}  // namespace rl::telemetry
