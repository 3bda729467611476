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

constexpr double kTrim = 0.15;         // share of the units trimmed at each end
constexpr std::size_t kTrimFrom = 12;  // units; of fewer, each is needed to know the spread
// How far the interval reaches at most, in distances from the estimate to the farthest unit on that side: by simulation
// (docs/measuring.md) it then holds the true ratio as often as without the bound.
constexpr std::size_t kBoundFrom = 5, kManyUnits = 15;  // units
constexpr double kReachOfFew = 3, kReachOfMany = 1;
constexpr double kFalseVerdicts = 0.01;             // better or worse said of equal pairs, over all looks
constexpr double kFirstLook = kVerdictSamples / 2;  // units
constexpr double kLookGrowth = 1.5;

// All of the log ratio. `cautious_error`: the standard error if the autocorrelation is one standard error above its
// estimate. `freedom`: degrees of freedom left by the autocorrelation.
struct Estimate {
  double center = 0, error = 0, cautious_error = 0, freedom = 0;
};

// By how much AR(1) autocorrelation raises the variance of a mean (Bayley & Hammersley 1946).
double inflation_by(double rho, double count) { return std::min((1 + rho) / (1 - rho), count / 2); }

// The same, with the shortfall of the sample variance that autocorrelation causes.
double variance_factor(double inflation, double count) { return inflation * (1 - 1 / count) / (1 - inflation / count); }

std::vector<double> winsorised(std::span<const double> values, std::size_t trimmed) {
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  std::vector<double> result;  // in the order taken
  for (const double v : values) result.push_back(std::clamp(v, sorted[trimmed], sorted[sorted.size() - 1 - trimmed]));
  return result;
}

std::size_t trimmed_of(std::size_t count) {
  return count < kTrimFrom ? 0 : static_cast<std::size_t>(kTrim * static_cast<double>(count));
}

// Trimmed mean of the units and its standard error from the winsorised values (Tukey & McLaughlin 1963; Yuen 1974),
// widened for autocorrelation, taken as AR(1). That is estimated from the pairs, of which there are twice as many: if
// theirs is rho, the means of two have rho (1 + rho) / 2.
Estimate estimate_of(std::span<const double> pairs, std::span<const double> units) {
  const std::size_t n = units.size(), trimmed = trimmed_of(n);
  const double count = static_cast<double>(n), kept = static_cast<double>(n - 2 * trimmed);
  std::vector<double> sorted(units.begin(), units.end());
  std::sort(sorted.begin(), sorted.end());
  const auto ends = static_cast<std::ptrdiff_t>(trimmed);
  const double center = std::accumulate(sorted.begin() + ends, sorted.end() - ends, 0.0) / kept;

  const std::vector<double> bounded = winsorised(units, trimmed);
  const double mean = std::accumulate(bounded.begin(), bounded.end(), 0.0) / count;
  double squares = 0;
  for (const double v : bounded) squares += (v - mean) * (v - mean);
  const double variance = squares / (kept * (kept - 1));

  const double of_pairs = autocorrelation(winsorised(pairs, trimmed_of(pairs.size())));
  const double higher = std::min(of_pairs + 1 / std::sqrt(static_cast<double>(pairs.size())), 0.95);
  const double inflation = inflation_by(of_pairs * (1 + of_pairs) / 2, count);
  const double cautious = inflation_by(higher * (1 + higher) / 2, count);
  return {.center = center,
          .error = std::sqrt(variance * variance_factor(inflation, count)),
          .cautious_error = std::sqrt(variance * variance_factor(cautious, count)),
          .freedom = std::max(1.0, kept / inflation - 1)};
}

// 95% interval of the log ratio. Where the machine changed once on the way, or where few units seem to depend on each
// other, hardly a degree of freedom is left, and Student's t reaches many times as far as any unit lies.
record::Interval interval_of(const Estimate& estimate, std::span<const double> units, bool bounded) {
  const double half = student_t_critical(0.05, estimate.freedom) * estimate.error;
  double down = half, up = half;
  if (bounded && units.size() >= kBoundFrom) {
    const double reach = units.size() < kManyUnits ? kReachOfFew : kReachOfMany;
    const auto [lowest, highest] = std::minmax_element(units.begin(), units.end());
    // The mean of equal units may round to beside them.
    down = std::min(down, reach * std::max(estimate.center - *lowest, 0.0));
    up = std::min(up, reach * std::max(*highest - estimate.center, 0.0));
  }
  return {estimate.center - down, estimate.center + up};
}

// The error that a look at this many units may spend: 1/(k(k+1)) of the whole for the k-th of looks at sizes that grow
// geometrically, which sums to the whole however many looks follow.
double spent_at(std::size_t units) {
  const double k =
      1 + std::max(0.0, std::floor(std::log(static_cast<double>(units) / kFirstLook) / std::log(kLookGrowth)));
  return kFalseVerdicts / (k * (k + 1));
}

// Log ratios; positive: b is better.
std::vector<double> log_ratios(std::span<const double> a, std::span<const double> b, record::Better better) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < a.size(); ++i)
    ratios.push_back(better == record::Better::higher ? std::log(b[i] / a[i]) : std::log(a[i] / b[i]));
  return ratios;
}

// Two neighbouring pairs averaged, A B B A: a linear drift cancels.
std::vector<double> units_of(std::span<const double> pairs) {
  std::vector<double> units;
  for (std::size_t i = 0; i + 1 < pairs.size(); i += 2) units.push_back(0.5 * (pairs[i] + pairs[i + 1]));
  return units;
}

record::Comparison compare(std::span<const double> a, std::span<const double> b, record::Better better,
                           double smallest_effect, bool bounded) {
  RL_CHECK(a.size() == b.size());
  record::Comparison result{.ratio = std::numeric_limits<double>::quiet_NaN(),
                            .ci95 = {0, kInfinity},
                            .smallest_effect = smallest_effect,
                            .verdict = record::Verdict::inconclusive};
  const std::vector<double> pairs = log_ratios(a, b, better);
  const std::vector<double> units = units_of(pairs);
  if (units.empty() || !std::all_of(units.begin(), units.end(), [](double u) { return std::isfinite(u); }))
    return result;
  if (units.size() < 3) {
    result.ratio = std::exp(std::accumulate(units.begin(), units.end(), 0.0) / static_cast<double>(units.size()));
    return result;
  }

  const Estimate estimate = estimate_of(pairs, units);
  const record::Interval interval = interval_of(estimate, units, bounded);
  const double verdict_half = student_t_critical(spent_at(units.size()), estimate.freedom) * estimate.cautious_error;
  result.ratio = std::exp(estimate.center);
  result.ci95 = {std::exp(interval.low), std::exp(interval.high)};

  const double effect = std::log1p(smallest_effect);
  if (interval.low >= -effect && interval.high <= effect)
    result.verdict = record::Verdict::same;
  else if (static_cast<double>(units.size()) >= kFirstLook && std::abs(estimate.center) >= effect &&
           std::abs(estimate.center) > verdict_half)
    result.verdict = estimate.center > 0 ? record::Verdict::better : record::Verdict::worse;
  return result;
}

}  // namespace

record::Comparison compare_pairs(std::span<const double> a, std::span<const double> b, record::Better better,
                                 double smallest_effect) {
  return compare(a, b, better, smallest_effect, true);
}

record::Comparison compare_pairs_unbounded(std::span<const double> a, std::span<const double> b, record::Better better,
                                           double smallest_effect) {
  return compare(a, b, better, smallest_effect, false);
}

}  // namespace rl::measure
