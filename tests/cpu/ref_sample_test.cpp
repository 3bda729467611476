// The oracle's sampling against frequencies and sets worked out by hand.

#include <set>

#include "check/result.h"
#include "cpu/ref/ref.h"
#include "num/random.h"
#include "ops/case_inputs.h"

namespace rl::cpu::ref {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TokenId sample_one(std::vector<float> logits, ops::SampleRow wishes, std::vector<std::int32_t> history = {}) {
  std::int32_t out[1];
  wishes.history_end = static_cast<std::int32_t>(history.size());
  const auto vocab = static_cast<std::int64_t>(logits.size());
  ops::SampleArgs args{.logits = tensor(logits.data(), {1, vocab}), .row = &wishes, .out = tensor(out, {1})};
  if (!history.empty()) args.history = tensor(history.data(), {static_cast<std::int64_t>(history.size())});
  return sample(args)[0];
}

// How often each token comes out of `draws` counters.
std::vector<int> histogram(const std::vector<float>& logits, ops::SampleRow wishes, int draws,
                           const std::vector<std::int32_t>& history = {}) {
  std::vector<int> seen(logits.size());
  for (int i = 0; i < draws; ++i) {
    wishes.counter = static_cast<std::uint64_t>(i);
    ++seen.at(static_cast<std::size_t>(sample_one(logits, wishes, history)));
  }
  return seen;
}

std::set<TokenId> support(const std::vector<float>& logits, const ops::SampleRow& wishes) {
  std::set<TokenId> tokens;
  const std::vector<int> seen = histogram(logits, wishes, 4000);
  for (std::size_t i = 0; i < seen.size(); ++i)
    if (seen[i] > 0) tokens.insert(static_cast<TokenId>(i));
  return tokens;
}

std::vector<float> logits_of(std::vector<double> probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  return logits;
}

TEST(RefSample, GreedyTakesTheLargestAndTheLowestIdAmongEquals) {
  EXPECT_EQ(sample_one({1, 3, 2}, {}), 1);
  EXPECT_EQ(sample_one({1, 3, 3, 3}, {}), 1);
  EXPECT_EQ(sample_one({-5}, {}), 0);
  EXPECT_EQ(sample_one({-kInfinity, -2}, {}), 1);
  EXPECT_EQ(sample_one({1, kInfinity, 5}, {}), 1);
}

TEST(RefSample, NaNOrNothingFiniteGivesNoToken) {
  for (const float temperature : {0.0f, 1.0f}) {
    EXPECT_EQ(sample_one({1, NAN, 2}, {.temperature = temperature}), -1);
    EXPECT_EQ(sample_one({-kInfinity, -kInfinity}, {.temperature = temperature}), -1);
    EXPECT_EQ(sample_one({kInfinity, -kInfinity}, {.temperature = temperature}), -1);
  }
}

TEST(RefSample, FrequenciesAreThoseOfTheSoftmax) {
  constexpr int kDraws = 40'000;
  for (const float temperature : {0.5f, 1.0f, 2.0f}) {
    const std::vector<float> logits = {0.3f, -1, 2, 1.5f, 0};
    const std::vector<int> seen = histogram(logits, {.temperature = temperature, .seed = 11}, kDraws);
    double sum = 0;
    for (const float l : logits) sum += std::exp(static_cast<double>(l / temperature));
    for (std::size_t i = 0; i < logits.size(); ++i) {
      const double p = std::exp(static_cast<double>(logits[i] / temperature)) / sum;
      EXPECT_NEAR(seen[i], kDraws * p, 4.5 * std::sqrt(kDraws * p * (1 - p))) << i << " at " << temperature;
    }
  }
}

TEST(RefSample, PicksByCumulativeProbabilityFromTheMostLikely) {
  const std::vector<float> logits = logits_of({0.2, 0.5, 0.3});
  for (std::uint64_t counter = 0; counter < 200; ++counter) {
    const double u = num::uniform(9, counter);
    const TokenId expected = u < 0.5 ? 1 : u < 0.8 ? 2 : 0;
    if (std::abs(u - 0.5) < 1e-6 || std::abs(u - 0.8) < 1e-6) continue;  // the logits are rounded
    EXPECT_EQ(sample_one(logits, {.temperature = 1, .seed = 9, .counter = counter}), expected) << u;
  }
}

TEST(RefSample, FiltersKeepTheirSets) {
  const std::vector<float> logits = logits_of({0.05, 0.4, 0.15, 0.3, 0.1});
  using Set = std::set<TokenId>;
  EXPECT_EQ(support(logits, {.temperature = 1}), (Set{0, 1, 2, 3, 4}));
  EXPECT_EQ(support(logits, {.temperature = 1, .top_k = 2}), (Set{1, 3}));
  EXPECT_EQ(support(logits, {.temperature = 1, .top_p = 0.65f}), (Set{1, 3}));
  EXPECT_EQ(support(logits, {.temperature = 1, .top_p = 0.75f}), (Set{1, 2, 3}));
  EXPECT_EQ(support(logits, {.temperature = 1, .top_p = 1e-9f}), (Set{1}));
  EXPECT_EQ(support(logits, {.temperature = 1, .top_p = 0}), (Set{1})) << "one always stays";
  EXPECT_EQ(support(logits, {.temperature = 1, .min_p = 0.3f}), (Set{1, 2, 3}));  // at least 0.12
  EXPECT_EQ(support(logits, {.temperature = 1, .min_p = 1}), (Set{1}));
  // Top-p looks at what top-k has left: 0.4 + 0.3 is all of it.
  EXPECT_EQ(support(logits, {.temperature = 1, .top_k = 2, .top_p = 0.57f}), (Set{1}));
  EXPECT_EQ(support(logits, {.temperature = 1, .top_k = 2, .top_p = 0.58f}), (Set{1, 3}));
  // Temperature comes before top-p: hotter means flatter, and more tokens are needed.
  EXPECT_EQ(support(logits, {.temperature = 100, .top_p = 0.75f}).size(), 4u);
}

TEST(RefSample, TiesAreCutByLowerId) {
  const std::vector<float> flat(6, 1.0f);
  using Set = std::set<TokenId>;
  EXPECT_EQ(support(flat, {.temperature = 1, .top_k = 2}), (Set{0, 1}));
  EXPECT_EQ(support(flat, {.temperature = 1, .top_p = 0.5f}), (Set{0, 1, 2}));
  EXPECT_EQ(support({0, 2, 1, 1, 1}, {.temperature = 1, .top_k = 3}), (Set{1, 2, 3}));
  EXPECT_EQ(support(std::vector<float>(500, 1.0f), {.temperature = 1, .top_k = 3}), (Set{0, 1, 2}))
      << "also where a sort that is not stable would mix them";
}

TEST(RefSample, PenaltyWeakensEachTokenOfTheHistoryOnce) {
  // 4 / 2 = 2 falls behind 3; a negative one moves away from zero.
  EXPECT_EQ(sample_one({4, 3, 1}, {.repetition_penalty = 2}, {0, 0, 0}), 1);
  EXPECT_EQ(sample_one({5, 2, 1}, {.repetition_penalty = 2}, {0, 0, 0}), 0) << "once: 2.5, not 0.6";
  EXPECT_EQ(sample_one({-1, -1.5f}, {.repetition_penalty = 2}, {0}), 1);
  EXPECT_EQ(sample_one({4, 3}, {.repetition_penalty = 1}, {0}), 0);
  EXPECT_EQ(sample_one({4, 3}, {.repetition_penalty = 2}, {7, -1, 2}), 0) << "ids outside count for nothing";
}

TEST(RefSample, ReadsOnlyItsPartOfTheHistory) {
  float logits[] = {4, 3, 4, 3};
  std::int32_t history[] = {1, 0, 0}, out[2];
  const ops::SampleRow rows[] = {{.repetition_penalty = 2, .history_begin = 0, .history_end = 1},
                                 {.repetition_penalty = 2, .history_begin = 1, .history_end = 3}};
  const ops::SampleArgs args{
      .logits = tensor(logits, {2, 2}), .row = rows, .history = tensor(history, {3}), .out = tensor(out, {2})};
  EXPECT_THAT(sample(args), testing::ElementsAre(0, 1));
}

TEST(RefSample, ATinyTemperatureIsGreedyAndAHugeOneUniform) {
  EXPECT_EQ(support({1, 3, 2.99f}, {.temperature = 1e-30f}), (std::set<TokenId>{1}));
  const std::vector<int> seen = histogram({1, 30, -20}, {.temperature = 1e9f}, 3000);
  for (const int n : seen) EXPECT_NEAR(n, 1000, 120);
}

TEST(RefSample, ARowIsAFunctionOfItselfAlone) {
  ASSERT_VALUE(const auto inputs, ops::make_inputs(ops::SampleCase{"", 0, 8, 100, ops::LogitKind::normal, 1}));
  const std::vector<TokenId> all = sample(inputs.args);
  for (std::int64_t r = 0; r < 8; ++r) {
    ops::SampleArgs one = inputs.args;
    one.logits = tensor(inputs.args.logits.as<float>() + r * 100, {1, 100});
    one.row = inputs.args.row + r;
    EXPECT_EQ(sample(one)[0], all[static_cast<std::size_t>(r)]);
  }
}

}  // namespace
}  // namespace rl::cpu::ref
