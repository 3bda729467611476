#include "measure/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace rl::measure {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
// Makes the median absolute deviation estimate a normal distribution's standard deviation: 1 / Phi^-1(3/4).
constexpr double kScaledMad = 1.4826022185056018;
// The same for the mean absolute deviation: sqrt(pi / 2).
constexpr double kScaledMeanDeviation = 1.2533141373155003;

double quantile_in_place(std::vector<double>& values, double p) {
  if (values.empty()) return kNaN;
  const double position = p * static_cast<double>(values.size() - 1);
  const auto lower = static_cast<std::ptrdiff_t>(position);
  const double fraction = position - static_cast<double>(lower);
  const auto at = values.begin() + lower;
  std::nth_element(values.begin(), at, values.end());
  if (fraction == 0) return *at;
  const double next = *std::min_element(at + 1, values.end());
  return *at + fraction * (next - *at);
}

}  // namespace

double quantile(std::span<const double> values, double p) {
  std::vector<double> copy(values.begin(), values.end());
  return quantile_in_place(copy, p);
}

double median(std::span<const double> values) { return quantile(values, 0.5); }

std::optional<double> relative_noise(std::span<const double> values) {
  if (values.size() < 5) return std::nullopt;
  const double count = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
  double squares = 0;
  for (const double v : values) squares += (v - mean) * (v - mean);
  const double noise = std::sqrt(squares / (count - 1)) / std::abs(mean);
  return std::isfinite(noise) ? std::optional(noise) : std::nullopt;
}

int count_outliers(std::span<const double> values) {
  const double center = median(values);
  std::vector<double> distances;
  for (const double v : values) distances.push_back(std::abs(v - center));
  double scale = kScaledMad * median(distances);
  // More than half of the values equal (a coarse timer): the mean deviation still has a scale (Iglewicz & Hoaglin
  // 1993).
  if (scale == 0)
    scale = kScaledMeanDeviation * std::accumulate(distances.begin(), distances.end(), 0.0) /
            static_cast<double>(std::max<std::size_t>(1, distances.size()));
  return static_cast<int>(std::count_if(distances.begin(), distances.end(), [&](double d) { return d > 3 * scale; }));
}

double autocorrelation(std::span<const double> values) {
  if (values.size() < 4) return 0;
  const double count = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
  double variance = 0, covariance = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    variance += (values[i] - mean) * (values[i] - mean);
    if (i > 0) covariance += (values[i] - mean) * (values[i - 1] - mean);
  }
  if (variance == 0) return 0;
  // The estimate is low by (1 + 3 rho) / n on average (Marriott & Pope 1954): solved for rho.
  const double corrected = (count * covariance / variance + 1) / (count - 3);
  return std::clamp(corrected, 0.0, 0.95);
}

}  // namespace rl::measure
