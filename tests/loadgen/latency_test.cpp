// Latencies of loads whose every time is known.

#include "loadgen/latency.h"

#include <gmock/gmock.h>

#include "check/result.h"
#include "loadgen/arrivals.h"
#include "loadgen/fake.h"
#include "measure/statistics.h"

namespace rl::loadgen {
namespace {

using testing::DoubleEq;
using testing::ElementsAre;

Served served(double scheduled, const std::vector<double>& times) {
  Served request{.scheduled = {scheduled}, .submitted = {scheduled}};
  for (const double time : times) request.times.push_back({time});
  request.tokens.resize(times.size());
  request.finished = engine::FinishReason::length;
  return request;
}

TEST(Latencies, FollowTheirFormulas) {
  Load load;
  load.requests = {served(1, {1.5, 1.75, 2.5}), served(2, {4, 4.25})};
  const Latencies found = latencies_of(load, {0}, {.ttft = {1}, .tpot = {0.5}});
  EXPECT_THAT(found.ttft, ElementsAre(0.5, 2.0));
  EXPECT_THAT(found.e2e, ElementsAre(1.5, 2.25));
  EXPECT_THAT(found.tpot, ElementsAre(0.5, 0.25)) << "(e2e - ttft) / (n - 1)";
  EXPECT_THAT(found.itl, ElementsAre(0.25, 0.75, 0.25)) << "gaps of all requests together";
  EXPECT_EQ(found.tokens, 5);
  EXPECT_EQ(found.span.count, 3.25) << "from the first arrival to the last token";
  EXPECT_EQ(found.offered(), 1) << "one more request a second after the first";
  EXPECT_EQ(found.good, 1) << "the second waited too long for its first token";
  EXPECT_THAT(found.goodput(), DoubleEq(1 / 3.25));
}

TEST(Latencies, GoodputNeedsBothLimitsAndATimePerToken) {
  Load load;
  load.requests = {served(0, {0.1, 0.2}), served(0, {0.1, 0.9}), served(0, {0.9, 1.0}), served(0, {0.1})};
  const Latencies found = latencies_of(load, {0}, {.ttft = {0.5}, .tpot = {0.5}});
  EXPECT_EQ(found.completed, 4);
  EXPECT_EQ(found.good, 1) << "a request of one token has no TPOT, and passes nothing";
  EXPECT_EQ(found.tpot.size(), 3u);
}

TEST(Latencies, FailedAndRefusedRequestsAreCountedAndInNoAverage) {
  Load load;
  load.requests = {served(0, {0.5, 1}), served(0, {0.5, 1}), served(0, {})};
  load.requests[1].finished = engine::FinishReason::error;
  load.requests[2].finished.reset();
  load.requests[2].refused = "too long";
  const Latencies found = latencies_of(load, {0}, {.ttft = {1}, .tpot = {1}});
  EXPECT_EQ(found.requests, 3);
  EXPECT_EQ(found.completed, 1);
  EXPECT_EQ(found.failed, 2);
  EXPECT_EQ(found.good, 1);
  EXPECT_EQ(found.ttft.size(), 1u);
  EXPECT_EQ(found.tokens, 2);
}

TEST(Latencies, CountFromAGivenTimeOn) {
  Load load;
  load.requests = {served(0, {9, 10}), served(5, {5.5, 6})};
  const Latencies found = latencies_of(load, {1}, {.ttft = {1}, .tpot = {1}});
  EXPECT_THAT(found.ttft, ElementsAre(0.5));
  EXPECT_EQ(found.span.count, 1);
}

TEST(Percentile, IsShownOnlyWithEnoughSamples) {
  EXPECT_EQ(samples_for_percentile(0.5), 11);
  EXPECT_EQ(samples_for_percentile(0.9), 64);
  EXPECT_EQ(samples_for_percentile(0.95), 130);
  EXPECT_EQ(samples_for_percentile(0.99), 662);
  EXPECT_EQ(samples_for_percentile(0.999), 6636);
  std::vector<double> samples;
  for (int i = 1; i <= 661; ++i) samples.push_back(i);
  EXPECT_FALSE(percentile("ttft", samples, 0.99, true, 1));
  samples.push_back(662);
  const auto p99 = percentile("ttft", samples, 0.99, true, 1), p50 = percentile("ttft", samples, 0.5, true, 1),
             bare = percentile("itl", samples, 0.5, false, 1);
  ASSERT_TRUE(p99 && p50 && bare);
  EXPECT_EQ(p99->name, "ttft_p99");
  EXPECT_EQ(p99->statistic, "p99");
  EXPECT_NEAR(p99->value, 655.39, 1e-9);
  EXPECT_EQ(p50->statistic, "median");
  EXPECT_EQ(p50->value, measure::median(samples));
  EXPECT_EQ(p50->samples.size(), 662u);
  EXPECT_TRUE(p50->ci95);
  EXPECT_EQ(bare->statistic, "p50");
  EXPECT_TRUE(bare->samples.empty());
}

// A server that stalls for one second in thirty: what a user meets is known from the schedule alone.
TEST(OpenLoop, SeesAStallThatAClosedLoopWouldHide) {
  FakeClock clock;
  FakeTarget target(clock, 1000, {1.0 / 128});
  target.stall({1000 + 15}, {1000 + 16});
  std::vector<Arrival> arrivals = make_requests(6000, {}, 10, 1);
  schedule_poisson(arrivals, 200, 5);
  std::vector<double> truth;
  ASSERT_VALUE(const Load load, run_load(target, arrivals, {}, clock));
  // A request waits for the step that runs when it arrives, then for one step of its own.
  for (const Arrival& arrival : arrivals) {
    const double at = arrival.at.count;
    truth.push_back(at >= 15 && at < 16 ? 16 - at + 1.0 / 128 : 1.5 / 128);
  }
  const Latencies found = latencies_of(load, {0}, {.ttft = {1}, .tpot = {1}});
  ASSERT_EQ(found.ttft.size(), truth.size());
  const double expected = measure::quantile(truth, 0.99), p99 = measure::quantile(found.ttft, 0.99);
  EXPECT_GT(expected, 0.3) << "a thirtieth of the requests waited for up to a second";
  EXPECT_NEAR(p99, expected, 0.05 * expected);
  EXPECT_LT(client_delay_p99(load).count, 1e-9);
}

TEST(ClientDelay, ShowsASlowClient) {
  Load load;
  for (int i = 0; i < 100; ++i) load.requests.push_back(served(i, {i + 0.5}));
  for (int i = 0; i < 5; ++i) load.requests[static_cast<std::size_t>(i)].client_delay = {0.25};
  EXPECT_EQ(client_delay_p99(load).count, 0.25);
}

}  // namespace
}  // namespace rl::loadgen
