#include "num/random.h"

#include <cmath>
#include <functional>
#include <vector>

#include <gtest/gtest.h>

namespace rl::num {
namespace {

// kat_vectors of Random123, the authors' implementation: "philox4x32 10".
TEST(Philox, GivesThePublishedVectors) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr std::uint32_t kOnes = 0xffffffff;
  EXPECT_EQ(philox4x32({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
            (PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
  static_assert(philox4x32({0, 0, 0, 0}, {0, 0})[0] == 0x6627e8d5);
}

TEST(Random, UniformFillsTheUnitIntervalEvenly) {
  constexpr int kDraws = 100'000, kBins = 64;
  std::vector<int> bins(kBins);
  for (int i = 0; i < kDraws; ++i) {
    const double u = uniform(7, static_cast<std::uint64_t>(i));
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    ++bins[static_cast<std::size_t>(u * kBins)];
  }
  double chi_square = 0;
  for (const int n : bins) chi_square += std::pow(n - double{kDraws} / kBins, 2) / (double{kDraws} / kBins);
  EXPECT_LT(chi_square, 104);  // the 99.9% point of 63 degrees of freedom is 103.4
  EXPECT_LT(uniform53(0xffffffff, 0xffffffff), 1);
  EXPECT_EQ(uniform53(0, 0), 0);
}

TEST(Random, SeedStreamAndCounterAllMatter) {
  EXPECT_NE(random_block(1, 0, 0), random_block(2, 0, 0));
  EXPECT_NE(random_block(1, 0, 0), random_block(1, 1, 0));
  EXPECT_NE(random_block(1, 0, 0), random_block(1, 0, 1));
  EXPECT_NE(random_block(1, 0, 0), random_block(1, 0, std::uint64_t{1} << 32));
  EXPECT_NE(random_block(1, 0, 0), random_block(1 + (std::uint64_t{1} << 32), 0, 0));
}

void expect_moments_of_normal4(const std::function<double(int)>& draw) {
  constexpr int kDraws = 200'000;
  double sum = 0, squares = 0, fourth = 0, largest = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double v = draw(i);
    sum += v, squares += v * v, fourth += v * v * v * v;
    largest = std::max(largest, std::abs(v));
  }
  constexpr double n = kDraws;
  EXPECT_NEAR(sum / n, 0, 4 / std::sqrt(n));
  EXPECT_NEAR(squares / n, 1, 0.02);
  EXPECT_NEAR(fourth / n, 3 - 1.2 / 4, 0.05);  // a sum of 4 uniforms: excess kurtosis -6/5 over 4
  EXPECT_LT(largest, 3.46);
}
TEST(Random, NormalHasItsMoments) {
  expect_moments_of_normal4([](int i) {
    return static_cast<double>(normal4(3, 5, static_cast<std::uint64_t>(i / 4))[static_cast<std::size_t>(i % 4)]);
  });
}
TEST(Random, HashedNormalHasItsMoments) {
  expect_moments_of_normal4([](int i) {
    return static_cast<double>(static_cast<float>(hashed_normal(17, 23, static_cast<std::uint32_t>(i))) *
                               kInverseDeviation);
  });
}

TEST(Random, BelowReachesEveryNumber) {
  std::vector<int> seen(7);
  for (std::uint64_t i = 0; i < 700; ++i) ++seen.at(uniform_below(1, 2, i, 7));
  for (const int n : seen) EXPECT_NEAR(n, 100, 45);
}

}  // namespace
}  // namespace rl::num
