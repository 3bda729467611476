// Limits of recorded systems: a machine, containers, services.

#include "cpu/fast/memory_limits.h"

#include <fstream>

#include <gtest/gtest.h>

#include "cpu/fast/cpu_device.h"

namespace rl::cpu {
namespace {

using namespace literals;

class MemoryLimitsTest : public testing::Test {
 protected:
  MemoryLimitsTest() { std::filesystem::create_directories(root_); }
  ~MemoryLimitsTest() override { std::filesystem::remove_all(root_); }
  void file(const std::string& path, const std::string& content) {
    std::filesystem::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << content;
  }
  void machine() {
    file("proc/meminfo",
         "MemTotal:       16777216 kB\nMemFree:          524288 kB\nMemAvailable:    8388608 kB\nCached:  1 kB\n");
  }
  MemoryLimits limits() const { return memory_limits(root_); }

  std::filesystem::path root_ =
      std::filesystem::path(testing::TempDir()) / testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST_F(MemoryLimitsTest, WithoutGroupsTheMachineIsTheLimit) {
  machine();
  EXPECT_EQ(limits().total, 16_GiB);
  EXPECT_EQ(limits().available, 8_GiB) << "not what is free, nor what there is";
}

TEST_F(MemoryLimitsTest, AContainersLimitLessWhatItUsesButForOldFileCache) {
  machine();
  file("proc/self/cgroup", "0::/\n");
  file("sys/fs/cgroup/memory.max", "4294967296\n");
  file("sys/fs/cgroup/memory.current", "3221225472\n");
  file("sys/fs/cgroup/memory.stat", "anon 2147483648\ninactive_file 1073741824\nactive_file 5\n");
  EXPECT_EQ(limits().total, 4_GiB);
  EXPECT_EQ(limits().available, 2_GiB);
  file("sys/fs/cgroup/memory.current", "9221225472\n");
  EXPECT_EQ(limits().available, 0_GiB) << "over its limit, nothing is left";
  file("sys/fs/cgroup/memory.max", "max\n");
  EXPECT_EQ(limits().total, 16_GiB) << "no limit";
  EXPECT_EQ(limits().available, 8_GiB);
}

TEST_F(MemoryLimitsTest, TheTightestGroupAboveTheProcessHolds) {
  machine();
  file("proc/self/cgroup", "0::/system.slice/redline.service\n");
  file("sys/fs/cgroup/system.slice/memory.max", "2147483648\n");
  file("sys/fs/cgroup/system.slice/memory.current", "1073741824\n");
  file("sys/fs/cgroup/system.slice/redline.service/memory.max", "max\n");
  EXPECT_EQ(limits().total, 2_GiB);
  EXPECT_EQ(limits().available, 1_GiB);
  file("sys/fs/cgroup/system.slice/redline.service/memory.max", "536870912\n");
  EXPECT_EQ(limits().total, 512_MiB);
  EXPECT_EQ(limits().available, 512_MiB);
}

TEST_F(MemoryLimitsTest, VersionOneGroupsCountToo) {
  machine();
  file("proc/self/cgroup", "12:cpu,cpuacct:/x\n9:memory:/docker/abc\n0::/\n");
  file("sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n");
  file("sys/fs/cgroup/memory/memory.usage_in_bytes", "268435456\n");
  file("sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 134217728\n");
  EXPECT_EQ(limits().total, 1_GiB);
  EXPECT_EQ(limits().available, 896_MiB);
  file("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(limits().total, 16_GiB) << "version 1 says 'no limit' with a huge number";
}

TEST_F(MemoryLimitsTest, ASystemThatSaysNothingLimitsNothing) {
  EXPECT_GT(limits().total, 64_MiB);
  EXPECT_EQ(limits().available, limits().total);
}

TEST(CpuDevice, OffersWhatThisMachineHasAvailable) {
  const auto device = make_device({.threads = 1});
  const MemoryLimits now = memory_limits();
  EXPECT_EQ(device->info().memory, now.total);
  EXPECT_GT(device->available_memory(), 16_MiB);
  EXPECT_LE(device->available_memory(), device->info().memory);
}

}  // namespace
}  // namespace rl::cpu
