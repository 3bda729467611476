// Verdicts on pairs: a trimmed mean of the log ratios of ABBA units, with Student's t.

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/result.h"
#include "measure/statistics.h"
#include "measure/student_t.h"

namespace rl::measure {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

constexpr double kTrim = 0.15;            // share of the units trimmed at each end
constexpr double kFalseVerdicts = 0.005;  // better or worse said of equal pairs, over all looks
constexpr double kFirstLook = 5;          // units
constexpr double kLookGrowth = 1.5;

struct Estimate {
  double center = 0;          // of the log ratio
  double error = 0;           // its standard error
  double cautious_error = 0;  // the same if the autocorrelation is one standard error above its estimate
  double freedom = 0;         // degrees of freedom
};

// By how much AR(1) autocorrelation raises the variance of a mean (Bayley & Hammersley 1946), the sample variance's own
// shortfall included.
double variance_factor(double inflation, double count) { return inflation * (1 - 1 / count) / (1 - inflation / count); }

double inflation_by(double rho, double count) { return std::min((1 + rho) / (1 - rho), count / 2); }

// Trimmed mean, its standard error from the winsorised values (Tukey & McLaughlin 1963; Yuen 1974), widened for the
// autocorrelation that is left between the units, taken as AR(1).
Estimate trimmed_mean(std::span<const double> values) {
  const std::size_t n = values.size();
  const auto trimmed = static_cast<std::size_t>(kTrim * static_cast<double>(n));
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  const double kept = static_cast<double>(n - 2 * trimmed);
  const auto ends = static_cast<std::ptrdiff_t>(trimmed);
  const double center = std::accumulate(sorted.begin() + ends, sorted.end() - ends, 0.0) / kept;

  std::vector<double> winsorised;  // in the order taken
  for (const double v : values) winsorised.push_back(std::clamp(v, sorted[trimmed], sorted[n - 1 - trimmed]));
  const double count = static_cast<double>(n);
  const double mean = std::accumulate(winsorised.begin(), winsorised.end(), 0.0) / count;
  double squares = 0;
  for (const double v : winsorised) squares += (v - mean) * (v - mean);

  const double rho = autocorrelation(winsorised);
  const double inflation = inflation_by(rho, count);
  const double cautious = inflation_by(std::min(rho + 1 / std::sqrt(count), 0.95), count);
  const double variance = squares / (kept * (kept - 1));
  return {.center = center,
          .error = std::sqrt(variance * variance_factor(inflation, count)),
          .cautious_error = std::sqrt(variance * variance_factor(cautious, count)),
          .freedom = std::max(1.0, kept / inflation - 1)};
}

// The error that a look at this many units may spend: 1/(k(k+1)) of the whole for the k-th of looks at sizes that grow
// geometrically, which sums to the whole however many looks follow.
double spent_at(std::size_t units) {
  const double k =
      1 + std::max(0.0, std::floor(std::log(static_cast<double>(units) / kFirstLook) / std::log(kLookGrowth)));
  return kFalseVerdicts / (k * (k + 1));
}

// Log ratios (positive: b is better), two neighbouring pairs averaged: A B B A, so that a linear drift cancels.
std::vector<double> unit_ratios(std::span<const double> a, std::span<const double> b, record::Better better) {
  const double sign = better == record::Better::higher ? -1 : 1;
  std::vector<double> units;
  for (std::size_t i = 0; i + 1 < std::min(a.size(), b.size()); i += 2)
    units.push_back(sign * 0.5 * (std::log(a[i] / b[i]) + std::log(a[i + 1] / b[i + 1])));
  return units;
}

}  // namespace

record::Comparison compare_pairs(std::span<const double> a, std::span<const double> b, record::Better better,
                                 double smallest_effect) {
  RL_CHECK(a.size() == b.size());
  record::Comparison result{.ratio = std::numeric_limits<double>::quiet_NaN(),
                            .ci95 = {0, kInfinity},
                            .smallest_effect = smallest_effect,
                            .verdict = record::Verdict::inconclusive};
  const std::vector<double> units = unit_ratios(a, b, better);
  if (units.empty() || !std::all_of(units.begin(), units.end(), [](double u) { return std::isfinite(u); }))
    return result;
  if (units.size() < 3) {
    result.ratio = std::exp(std::accumulate(units.begin(), units.end(), 0.0) / static_cast<double>(units.size()));
    return result;
  }

  const Estimate estimate = trimmed_mean(units);
  const double half = student_t_critical(0.05, estimate.freedom) * estimate.error;
  const double verdict_half = student_t_critical(spent_at(units.size()), estimate.freedom) * estimate.cautious_error;
  result.ratio = std::exp(estimate.center);
  result.ci95 = {std::exp(estimate.center - half), std::exp(estimate.center + half)};

  const double effect = std::log1p(smallest_effect);
  if (estimate.center - half >= -effect && estimate.center + half <= effect)
    result.verdict = record::Verdict::same;
  else if (static_cast<double>(units.size()) >= kFirstLook && std::abs(estimate.center) >= effect &&
           std::abs(estimate.center) > verdict_half)
    result.verdict = estimate.center > 0 ? record::Verdict::better : record::Verdict::worse;
  return result;
}

}  // namespace rl::measure
