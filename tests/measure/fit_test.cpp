#include "measure/fit.h"

#include <limits>
#include <random>

#include <gtest/gtest.h>

namespace rl::measure {
namespace {

TEST(Fit, FindsALineAndTheIntervalOfItsSlope) {
  // By hand: slope 0.6, intercept 2.2, residuals' variance 2.4 / 3, its share of xx = 10; t(0.975, 3) = 3.18245.
  const double x[] = {1, 2, 3, 4, 5}, y[] = {2, 4, 5, 4, 5};
  const LineFit fit = fit_line(x, y);
  EXPECT_NEAR(fit.slope, 0.6, 1e-12);
  EXPECT_NEAR(fit.intercept, 2.2, 1e-12);
  EXPECT_NEAR(fit.r_squared, 0.6, 1e-12);
  EXPECT_NEAR(fit.ci95.high - fit.slope, 3.182446 * std::sqrt(0.8 / 10), 1e-5);
  EXPECT_NEAR(fit.slope - fit.ci95.low, 3.182446 * std::sqrt(0.8 / 10), 1e-5);
}

TEST(Fit, FindsTheExponentOfGrowth) {
  std::vector<double> x, y;
  for (double n = 128; n <= 8192; n *= 2) {
    x.push_back(n);
    y.push_back(3e-9 * n * n);
  }
  const PowerFit fit = fit_power(x, y);
  EXPECT_NEAR(fit.exponent, 2, 1e-9);
  EXPECT_NEAR(fit.coefficient, 3e-9, 1e-15);
  EXPECT_NEAR(fit.ci95.low, 2, 1e-6);
  EXPECT_NEAR(fit.r_squared, 1, 1e-12);
}

TEST(Fit, TheExponentsIntervalCoversIt) {
  std::mt19937_64 engine(5);
  std::normal_distribution<double> noise(0, 0.05);
  int covered = 0;
  for (int trial = 0; trial < 1000; ++trial) {
    std::vector<double> x, y;
    for (double n = 128; n <= 4096; n *= 2) {
      x.push_back(n);
      y.push_back(1e-6 * std::pow(n, 1.5) * std::exp(noise(engine)));
    }
    const PowerFit fit = fit_power(x, y);
    covered += fit.ci95.low <= 1.5 && 1.5 <= fit.ci95.high;
  }
  EXPECT_NEAR(covered, 950, 21);  // three standard errors
}

TEST(Fit, RefusesWhatHasNoAnswer) {
  const double x[] = {1, 2, 3}, same[] = {2, 2, 2}, y[] = {1, 4, 9}, zero[] = {1, 0, 9};
  EXPECT_TRUE(std::isnan(fit_power(std::span(x).first(2), std::span(y).first(2)).exponent));
  EXPECT_TRUE(std::isnan(fit_line(same, y).slope));
  EXPECT_TRUE(std::isnan(fit_power(x, zero).exponent));
  EXPECT_TRUE(std::isnan(fit_power(x, zero).ci95.high));
  EXPECT_EQ(fit_line(x, same).slope, 0);
}

}  // namespace
}  // namespace rl::measure
