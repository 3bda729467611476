// The client against an engine whose every step is known.

#include "loadgen/load.h"

#include <gmock/gmock.h>

#include "check/result.h"
#include "loadgen/fake.h"

namespace rl::loadgen {
namespace {

using testing::ElementsAre;

constexpr Seconds kStep{0.25};  // sums of it are exact

std::vector<Arrival> requests(const std::vector<std::int64_t>& tokens, const std::vector<double>& at = {}) {
  std::vector<Arrival> arrivals;
  for (std::size_t i = 0; i < tokens.size(); ++i)
    arrivals.push_back({.at = {at.empty() ? 0 : at[i]},
                        .request = {.prompt = {static_cast<TokenId>(i + 1)}, .max_tokens = tokens[i]}});
  return arrivals;
}

std::vector<double> ends(const Load& load) {
  std::vector<double> ends;
  for (const Served& served : load.requests) ends.push_back(served.times.back().count);
  return ends;
}

TEST(RunLoad, ContinuousFillsAPlaceAsSoonAsItIsFree) {
  FakeClock clock;
  FakeTarget target(clock, 2, kStep);
  ASSERT_VALUE(const Load load, run_load(target, requests({4, 1, 2, 1}), {.policy = Policy::continuous}, clock));
  EXPECT_THAT(ends(load), ElementsAre(1.0, 0.25, 0.75, 1.0));
  EXPECT_EQ(load.duration.count, 1.0);
  EXPECT_EQ(load.thrown_away, 0);
  EXPECT_THAT(load.requests[2].tokens, ElementsAre(3000, 3001));
  for (const Served& served : load.requests) EXPECT_TRUE(served.complete());
}

TEST(RunLoad, OneAtATimeNeverRunsTwo) {
  FakeClock clock;
  FakeTarget target(clock, 4, kStep);
  ASSERT_VALUE(const Load load, run_load(target, requests({4, 1, 2, 1}), {.policy = Policy::one_at_a_time}, clock));
  EXPECT_EQ(target.most_running, 1);
  EXPECT_THAT(ends(load), ElementsAre(1.0, 1.25, 1.75, 2.0));
}

TEST(RunLoad, AStaticBatchLastsAsLongAsItsLongest) {
  FakeClock clock;
  FakeTarget target(clock, 4, kStep);
  ASSERT_VALUE(const Load load,
               run_load(target, requests({4, 1, 2, 1, 3}), {.policy = Policy::static_batch, .batch = 2}, clock));
  EXPECT_EQ(target.most_running, 2) << "the batch is the policy's, not the engine's";
  EXPECT_THAT(ends(load), ElementsAre(1.0, 0.25, 1.5, 1.25, 2.25)) << "what a request asked for counts";
  EXPECT_EQ(load.duration.count, 2.25);
  EXPECT_EQ(load.thrown_away, 3 + 1) << "places that only waited for the longest of their batch";
  EXPECT_EQ(load.requests[1].tokens.size(), 1u);
}

TEST(RunLoad, LatencyCountsFromTheScheduledArrival) {
  // One token a request, one request a second, a stall of ten seconds: those that arrive meanwhile wait for its end.
  FakeClock clock;
  FakeTarget target(clock, 64, {0.125});
  target.stall({1000 + 10}, {1000 + 20});
  std::vector<double> at;
  for (int i = 0; i < 30; ++i) at.push_back(i);
  ASSERT_VALUE(const Load load, run_load(target, requests(std::vector<std::int64_t>(30, 1), at), {}, clock));
  for (std::size_t i = 0; i < 30; ++i) {
    const Served& served = load.requests[i];
    const double latency = (served.times.front() - served.scheduled).count;
    const double now = static_cast<double>(i);
    if (i < 10 || i >= 20) {
      EXPECT_EQ(latency, i == 20 ? 0.125 : 0.125) << i;
    } else {
      EXPECT_EQ(latency, i == 10 ? 10.0 : 20.125 - now) << i;
    }
    EXPECT_EQ(served.client_delay.count, 0) << "the client itself was never late";
  }
}

TEST(RunLoad, WaitsForAnArrivalAndNeverHandsItOverEarly) {
  FakeClock clock;
  FakeTarget target(clock, 2, kStep);
  ASSERT_VALUE(const Load load, run_load(target, requests({1, 1}, {2.0, 2.125}), {}, clock));
  EXPECT_EQ(load.requests[0].submitted.count, 2.0);
  EXPECT_EQ(load.requests[1].submitted.count, 2.25) << "between two steps";
  EXPECT_EQ(load.duration.count, 2.5);
}

TEST(RunLoad, ARefusedRequestIsAResultAndTheOthersGoOn) {
  FakeClock clock;
  FakeTarget target(clock, 2, kStep);
  std::vector<Arrival> arrivals = requests({1, 1, 1});
  arrivals[1].request.prompt.clear();
  for (const Policy policy : {Policy::continuous, Policy::one_at_a_time, Policy::static_batch}) {
    ASSERT_VALUE(const Load load, run_load(target, arrivals, {.policy = policy, .batch = 2}, clock));
    EXPECT_TRUE(load.requests[0].complete());
    EXPECT_EQ(load.requests[1].refused, "an empty prompt");
    EXPECT_FALSE(load.requests[1].complete());
    EXPECT_TRUE(load.requests[2].complete());
  }
}

}  // namespace
}  // namespace rl::loadgen
