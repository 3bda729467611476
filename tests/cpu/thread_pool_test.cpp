#include "cpu/fast/thread_pool.h"

#include <thread>

#include <sched.h>

#include "base/clock.h"
#include "check/result.h"

namespace rl::cpu {
namespace {

TEST(AvailableProcessors, AreThoseOfTheAffinityMask) {
  cpu_set_t mask;
  ASSERT_EQ(::sched_getaffinity(0, sizeof mask, &mask), 0);
  const Processors all = available_processors();
  EXPECT_EQ(static_cast<int>(all.ids.size()), CPU_COUNT(&mask));
  EXPECT_GE(all.cores, 1);
  EXPECT_LE(all.cores, static_cast<int>(all.ids.size()));
  for (const int id : all.ids) EXPECT_TRUE(CPU_ISSET(id, &mask)) << id;

  // A narrower mask, on a thread of its own so that the test program keeps its mask.
  std::thread([&] {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(all.ids.back(), &one);
    ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
    const Processors narrow = available_processors();
    EXPECT_EQ(narrow.ids, std::vector<int>{all.ids.back()});
    EXPECT_EQ(narrow.cores, 1);
  }).join();
}

class ThreadPools : public testing::TestWithParam<int> {};

TEST_P(ThreadPools, RunEveryThreadOnceAndWaitForAll) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(pool.threads(), GetParam());
  std::vector<int> calls(static_cast<std::size_t>(pool.threads()));
  const auto caller = std::this_thread::get_id();
  for (int region = 1; region <= 2000; ++region) {
    bool caller_is_zero = false;
    pool.run([&](int thread) {
      ++calls[static_cast<std::size_t>(thread)];
      if (thread == 0) caller_is_zero = std::this_thread::get_id() == caller;
    });
    ASSERT_TRUE(caller_is_zero);
    for (const int n : calls) ASSERT_EQ(n, region);  // plain ints: the region's end orders them
  }
}

TEST_P(ThreadPools, RunAfterTheWorkersFellAsleep) {
  ThreadPool pool(GetParam());
  for (int i = 0; i < 5; ++i) {
    sleep_for(Seconds{3e-3});
    std::atomic<int> calls{0};
    // The caller, too, waits long enough to sleep.
    pool.run([&](int thread) {
      if (thread == pool.threads() - 1) sleep_for(Seconds{3e-3});
      ++calls;
    });
    EXPECT_EQ(calls, pool.threads());
  }
}

TEST_P(ThreadPools, ParallelForCoversTheRangeOnceInBlocks) {
  ThreadPool pool(GetParam());
  for (const std::int64_t n : {0, 1, 2, 7, 64, 65, 1000})
    for (const std::int64_t grain : {1, 3, 64}) {
      std::vector<std::atomic<int>> seen(static_cast<std::size_t>(n));
      std::atomic<int> shares{0};
      pool.parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end) {
        EXPECT_EQ(begin % grain, 0);
        EXPECT_TRUE(end == n || end % grain == 0);
        EXPECT_LT(begin, end);
        ++shares;
        for (std::int64_t i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
      });
      for (const auto& count : seen) ASSERT_EQ(count, 1);
      EXPECT_EQ(shares, std::min<std::int64_t>((n + grain - 1) / grain, pool.threads())) << n << " by " << grain;
    }
}

TEST_P(ThreadPools, TakeRegionsOfSeveralCallersInTurn) {
  ThreadPool pool(GetParam());
  std::int64_t sum = 0;  // changed by thread 0 of each region: regions must not overlap
  const auto call = [&] {
    for (int i = 0; i < 200; ++i)
      pool.run([&](int thread) {
        if (thread == 0) ++sum;
      });
  };
  std::thread other(call);
  call();
  other.join();
  EXPECT_EQ(sum, 400);
}

TEST_P(ThreadPools, EndAtOnceIdleOrAsleep) {
  for (int i = 0; i < 20; ++i) {
    ThreadPool pool(GetParam());
    if (i % 2 == 0) pool.run([](int) {});
    if (i % 5 == 0) sleep_for(Seconds{2e-3});
  }
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPools, testing::Values(1, 2, 3, 16));

// A region does not wait for sleeping workers to wake: the caller does their parts.
TEST(ThreadPool, TheCallerTakesPartsThatNoWorkerHasBegun) {
  ThreadPool pool(4);
  int by_caller = 0;
  for (int region = 0; region < 50; ++region) {
    sleep_for(Seconds{1e-3});  // longer than a worker spins
    std::vector<std::thread::id> by(4);
    pool.run([&](int thread) { by[static_cast<std::size_t>(thread)] = std::this_thread::get_id(); });
    for (const auto id : by) ASSERT_NE(id, std::thread::id());
    for (const auto id : by) by_caller += id == std::this_thread::get_id() ? 1 : 0;
  }
  EXPECT_GT(by_caller, 50);  // waking takes microseconds, these parts nanoseconds
}

TEST(ThreadPool, LeavesTheCallersAffinityAsItWas) {
  cpu_set_t before, after;
  ASSERT_EQ(::sched_getaffinity(0, sizeof before, &before), 0);
  {
    ThreadPool pool(static_cast<int>(available_processors().ids.size()));
    for (int i = 0; i < 100; ++i) pool.run([](int) {});
  }
  ASSERT_EQ(::sched_getaffinity(0, sizeof after, &after), 0);
  EXPECT_TRUE(CPU_EQUAL(&before, &after));
}

// With a processor for each thread, caller and workers run on different ones, wherever the caller began.
TEST(ThreadPool, KeepsTheCallerOffTheWorkersProcessors) {
  const Processors processors = available_processors();
  if (processors.ids.size() < 2) GTEST_SKIP() << "one processor";
  ThreadPool pool(2);
  cpu_set_t all, worker;
  ASSERT_EQ(::sched_getaffinity(0, sizeof all, &all), 0);
  CPU_ZERO(&worker);
  CPU_SET(processors.ids[1], &worker);
  for (int i = 0; i < 20; ++i) {
    // Put the caller onto the worker's processor, free to leave it again.
    ASSERT_EQ(::sched_setaffinity(0, sizeof worker, &worker), 0);
    ASSERT_EQ(::sched_setaffinity(0, sizeof all, &all), 0);
    int at[2] = {-1, -1};
    std::atomic<bool> begun{false};
    pool.run([&](int thread) {
      if (thread == 0) at[0] = ::sched_getcpu();
      while (thread == 0 && !begun) sleep_for(Seconds{50e-6});  // else the caller may take the worker's part
      if (thread == 1) at[1] = ::sched_getcpu();
      if (thread == 1) begun = true;
    });
    EXPECT_EQ(at[1], processors.ids[1]);
    EXPECT_NE(at[0], at[1]);
  }
}

TEST(ThreadPoolDeathTest, ARegionInsideARegionIsABug) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        ThreadPool pool(2);
        pool.run([&](int) { pool.run([](int) {}); });
      },
      "a region inside a region");
}

}  // namespace
}  // namespace rl::cpu
