#include "measure/fit.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/result.h"
#include "measure/student_t.h"

namespace rl::measure {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

double mean_of(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

}  // namespace

LineFit fit_line(std::span<const double> x, std::span<const double> y) {
  RL_CHECK(x.size() == y.size());
  const LineFit none{kNaN, kNaN, {kNaN, kNaN}, kNaN};
  const std::size_t n = x.size();
  if (n < 3) return none;
  const double x_mean = mean_of(x), y_mean = mean_of(y);
  double xx = 0, xy = 0, yy = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const double dx = x[i] - x_mean, dy = y[i] - y_mean;
    xx += dx * dx;
    xy += dx * dy;
    yy += dy * dy;
  }
  if (!(xx > 0) || !std::isfinite(yy)) return none;
  LineFit fit{.slope = xy / xx};
  fit.intercept = y_mean - fit.slope * x_mean;
  double residual = 0;  // summed apart: yy - slope * xy would lose all digits of a good fit
  for (std::size_t i = 0; i < n; ++i) {
    const double r = y[i] - fit.intercept - fit.slope * x[i];
    residual += r * r;
  }
  const double freedom = static_cast<double>(n - 2);
  const double half = student_t_critical(0.05, freedom) * std::sqrt(residual / freedom / xx);
  fit.ci95 = {fit.slope - half, fit.slope + half};
  fit.r_squared = yy > 0 ? 1 - residual / yy : 1;
  return fit;
}

PowerFit fit_power(std::span<const double> x, std::span<const double> y) {
  RL_CHECK(x.size() == y.size());
  std::vector<double> log_x, log_y;
  for (std::size_t i = 0; i < x.size(); ++i) {
    log_x.push_back(x[i] > 0 ? std::log(x[i]) : kNaN);
    log_y.push_back(y[i] > 0 ? std::log(y[i]) : kNaN);
  }
  const LineFit line = fit_line(log_x, log_y);
  return {
      .coefficient = std::exp(line.intercept), .exponent = line.slope, .ci95 = line.ci95, .r_squared = line.r_squared};
}

}  // namespace rl::measure
