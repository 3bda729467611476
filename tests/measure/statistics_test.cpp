#include "measure/statistics.h"

#include <limits>

#include <gtest/gtest.h>

#include "measure/simulate.h"
#include "measure/student_t.h"

namespace rl::measure {
namespace {

TEST(StudentT, CriticalValuesMatchTables) {
  // Abramowitz & Stegun, table 26.10.
  EXPECT_NEAR(student_t_critical(0.05, 1), 12.7062, 1e-4);
  EXPECT_NEAR(student_t_critical(0.05, 2), 4.30265, 1e-5);
  EXPECT_NEAR(student_t_critical(0.05, 10), 2.22814, 1e-5);
  EXPECT_NEAR(student_t_critical(0.001, 4), 8.610302, 1e-5);
  EXPECT_NEAR(student_t_critical(0.01, 30), 2.749996, 1e-5);
  EXPECT_NEAR(student_t_critical(0.05, 1e9), 1.959964, 1e-5);
  EXPECT_EQ(student_t_critical(0.05, 0), std::numeric_limits<double>::infinity());
}

TEST(StudentT, TailAndCriticalValueAreInverse) {
  for (const double df : {0.7, 1.0, 2.5, 7.0, 40.0, 3000.0})
    for (const double alpha : {0.5, 0.05, 1e-3, 1e-5})
      EXPECT_NEAR(student_t_two_sided(student_t_critical(alpha, df), df) / alpha, 1, 1e-7) << df << " " << alpha;
}

TEST(Statistics, MedianAndQuantiles) {
  const double odd[] = {5, 1, 3}, even[] = {4, 1, 3, 2}, one[] = {7};
  EXPECT_EQ(median(odd), 3);
  EXPECT_EQ(median(even), 2.5);
  EXPECT_EQ(median(one), 7);
  EXPECT_TRUE(std::isnan(median({})));
  EXPECT_EQ(quantile(even, 0), 1);
  EXPECT_EQ(quantile(even, 1), 4);
  EXPECT_DOUBLE_EQ(quantile(even, 0.9), 3.7);  // type 7
}

TEST(Statistics, NoiseIsStandardDeviationOverMean) {
  const double values[] = {9, 10, 11, 9, 11};
  ASSERT_TRUE(relative_noise(values));
  EXPECT_DOUBLE_EQ(*relative_noise(values), 0.1);
  EXPECT_FALSE(relative_noise(std::span(values).first(4)));
  const double zeros[] = {0, 0, 0, 0, 0};
  EXPECT_FALSE(relative_noise(zeros)) << "0 / 0 is not a noise";
}

TEST(Statistics, OutliersLieBeyondThreeScaledDeviations) {
  // Median 10, median absolute deviation 1: the fence is at 10 +- 4.448.
  const double values[] = {8, 9, 9, 10, 10, 10, 11, 11, 12, 14.4, 14.5, 5.5};
  EXPECT_EQ(count_outliers(values), 2);
  std::vector<double> coarse(30, 1.0);  // most equal: the deviation is 0
  EXPECT_EQ(count_outliers(coarse), 0);
  coarse[7] = 2;
  EXPECT_EQ(count_outliers(coarse), 1);
  EXPECT_EQ(count_outliers({}), 0);
}

TEST(Statistics, AutocorrelationIsFoundWithoutBias) {
  for (const double rho : {0.0, 0.5, 0.8}) {
    double sum = 0;
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
      simulated::Machine machine = simulated::correlated(seed, rho);
      std::vector<double> values;
      for (int i = 0; i < 100; ++i) values.push_back(machine(0));
      sum += autocorrelation(values);
    }
    // Never negative: of white noise the mean of the positive half of a normal distribution of sd 0.1 is left, 0.04.
    EXPECT_NEAR(sum / 200, rho == 0 ? 0.04 : rho, 0.03);
  }
  const double constant[] = {3, 3, 3, 3, 3};
  EXPECT_EQ(autocorrelation(constant), 0);
}

// Share of intervals, of `count` samples each, that contain `truth`.
double coverage(const std::function<simulated::Machine(std::uint64_t)>& make, int count, double truth) {
  constexpr int kTrials = 300;
  int covered = 0;
  for (std::uint64_t seed = 0; seed < kTrials; ++seed) {
    simulated::Machine machine = make(1000 + seed);
    std::vector<double> values;
    for (int i = 0; i < count; ++i) values.push_back(machine(0));
    const record::Interval interval = median_ci95(values, seed);
    covered += interval.low <= truth && truth <= interval.high;
  }
  return static_cast<double>(covered) / kTrials;
}

// The nominal 0.95 less three standard errors of a share of 300 trials is 0.912.
TEST(MedianInterval, CoversTheMedianOfWhiteAndHeavyTailedNoise) {
  const auto white = [](std::uint64_t seed) { return simulated::white(seed); };
  EXPECT_GE(coverage(white, 6, 1), 0.912);
  EXPECT_GE(coverage(white, 20, 1), 0.912);
  EXPECT_GE(coverage(white, 100, 1), 0.912);
  EXPECT_LE(coverage(white, 100, 1), 0.985) << "too wide to be of use";
  // 1.0007: the median of this noise, from 10^8 samples.
  EXPECT_GE(coverage([](std::uint64_t seed) { return simulated::heavy_tailed(seed); }, 50, 1.00066), 0.912);
}

TEST(MedianInterval, CoversTheMedianOfAutocorrelatedNoise) {
  EXPECT_GE(coverage([](std::uint64_t seed) { return simulated::correlated(seed, 0.5); }, 30, 1), 0.912);
  EXPECT_GE(coverage([](std::uint64_t seed) { return simulated::correlated(seed, 0.8); }, 60, 1), 0.912);
  EXPECT_GE(coverage([](std::uint64_t seed) { return simulated::correlated(seed, 0.8); }, 200, 1), 0.912);
}

TEST(MedianInterval, CoversTheMiddleOfADrift) {
  EXPECT_GE(coverage([](std::uint64_t seed) { return simulated::drifting(seed, 0.002); }, 50, 1 + 0.002 * 49 / 2),
            0.95);
}

TEST(MedianInterval, ShrinksWithTheRootOfTheCount) {
  auto width = [](int count) {
    double sum = 0;
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      simulated::Machine machine = simulated::white(seed);
      std::vector<double> values;
      for (int i = 0; i < count; ++i) values.push_back(machine(0));
      const record::Interval interval = median_ci95(values, seed);
      sum += interval.high - interval.low;
    }
    return sum / 20;
  };
  // 2 * 1.96 * 1.2533 * 0.01 / sqrt(n) for a normal distribution.
  EXPECT_NEAR(width(400), 2 * 1.96 * 1.2533 * 0.01 / std::sqrt(400), 0.0006);
  EXPECT_NEAR(width(100) / width(1600), 4, 0.8);
}

TEST(MedianInterval, OfFewSamplesIsTheirRange) {
  const double values[] = {3, 1, 2, 5, 4};
  EXPECT_EQ(median_ci95(values, 1).low, 1);
  EXPECT_EQ(median_ci95(values, 1).high, 5);
  EXPECT_TRUE(std::isnan(median_ci95(std::span(values).first(1), 1).low));
  EXPECT_TRUE(std::isnan(median_ci95({}, 1).high));
}

TEST(MedianInterval, RefusesNaNAndIsDeterministic) {
  std::vector<double> values{1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_EQ(median_ci95(values, 5).low, median_ci95(values, 5).low);
  const std::vector<double> constant(20, 2.5);
  EXPECT_EQ(median_ci95(constant, 1).low, 2.5);
  EXPECT_EQ(median_ci95(constant, 1).high, 2.5);
  values[3] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(std::isnan(median_ci95(values, 1).low));
}

}  // namespace
}  // namespace rl::measure
