#include "loadgen/arrivals.h"

#include <set>

#include <gmock/gmock.h>

namespace rl::loadgen {
namespace {

constexpr Lengths kLengths{.prompt_low = 4, .prompt_high = 64, .output_low = 2, .output_high = 32};

TEST(MakeRequests, TheSeedGivesTheSameRequestsAndAnotherSeedOthers) {
  const auto a = make_requests(50, kLengths, 1000, 7), b = make_requests(50, kLengths, 1000, 7),
             c = make_requests(50, kLengths, 1000, 8);
  for (std::size_t i = 0; i < 50; ++i) {
    EXPECT_EQ(a[i].request.prompt, b[i].request.prompt);
    EXPECT_EQ(a[i].request.max_tokens, b[i].request.max_tokens);
    EXPECT_NE(a[i].request.prompt, c[i].request.prompt);
    EXPECT_EQ(a[i].at.count, 0);
  }
  const auto longer = make_requests(60, kLengths, 1000, 7);
  EXPECT_EQ(longer[49].request.prompt, a[49].request.prompt) << "more requests do not change those before";
}

TEST(MakeRequests, LengthsFillTheirRangeAndNoTwoPromptsBeginAlike) {
  const auto arrivals = make_requests(2000, kLengths, 1000, 3);
  std::set<std::vector<TokenId>> beginnings;
  std::set<std::int64_t> prompts, outputs;
  std::int64_t below_middle = 0;
  for (const Arrival& arrival : arrivals) {
    const auto& prompt = arrival.request.prompt;
    for (const TokenId id : prompt) EXPECT_TRUE(id >= 0 && id < 1000);
    beginnings.insert({prompt.begin(), prompt.begin() + 4});
    prompts.insert(std::ssize(prompt));
    outputs.insert(arrival.request.max_tokens);
    below_middle += std::ssize(prompt) < 16;
  }
  EXPECT_EQ(beginnings.size(), 2000u);
  EXPECT_EQ(prompts.size(), 61u) << "every length from 4 to 64";
  EXPECT_EQ(outputs.size(), 31u);
  EXPECT_NEAR(static_cast<double>(below_middle), 1000, 80)
      << "the middle of the logarithms is the square root of 4 x 65";
}

TEST(SchedulePoisson, GapsAreExponentialWithTheRateGiven) {
  auto arrivals = make_requests(20000, {}, 10, 1);
  schedule_poisson(arrivals, 50, 9);
  double sum = 0, squares = 0, before = 0;
  std::int64_t long_gaps = 0;
  for (const Arrival& arrival : arrivals) {
    const double gap = arrival.at.count - before;
    EXPECT_GE(gap, 0);
    before = arrival.at.count;
    sum += gap;
    squares += gap * gap;
    long_gaps += gap > 2.0 / 50;
  }
  const double mean = sum / 20000, sd = std::sqrt(squares / 20000 - mean * mean);
  EXPECT_NEAR(mean, 0.02, 0.0006);  // four standard errors
  EXPECT_NEAR(sd / mean, 1, 0.03);
  EXPECT_NEAR(static_cast<double>(long_gaps) / 20000, std::exp(-2), 0.01);

  auto again = make_requests(20000, {}, 10, 1);
  schedule_poisson(again, 50, 9);
  EXPECT_EQ(again.back().at.count, arrivals.back().at.count);
  schedule_poisson(again, 100, 9);
  EXPECT_NEAR(again.back().at.count, arrivals.back().at.count / 2, 1e-9) << "the same gaps, twice as fast";
}

}  // namespace
}  // namespace rl::loadgen
