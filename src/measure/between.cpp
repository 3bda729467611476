#include "measure/between.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "measure/statistics.h"
#include "measure/student_t.h"

namespace rl::measure {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kManyDegrees = 1e6;  // a figure that brings its interval: a normal distribution
constexpr std::size_t kFewest = 6;    // samples: below, the interval of a median is the range of what was seen

bool positive(const record::Metric& metric) { return metric.value > 0 && std::isfinite(metric.value); }

bool has_interval(const record::Metric& metric) {
  return metric.ci95 && metric.ci95->low > 0 && metric.ci95->low <= metric.value && metric.value <= metric.ci95->high &&
         std::isfinite(metric.ci95->high);
}

Between nothing(double smallest_effect) {
  return {.comparison = {.ratio = std::numeric_limits<double>::quiet_NaN(),
                         .ci95 = {0, kInfinity},
                         .smallest_effect = smallest_effect,
                         .verdict = record::Verdict::inconclusive}};
}

// Both have intervals. `freedom`: degrees of freedom that the 95% limits rest on.
Between combined(const record::Metric& a, const record::Metric& b, double freedom, double drift,
                 double smallest_effect) {
  // Of log(worse / better): up is better.
  const record::Metric& above = a.better == record::Better::higher ? b : a;
  const record::Metric& under = a.better == record::Better::higher ? a : b;
  const auto log_distance = [](double from, double to) { return std::log(to / from); };
  const double center = std::log(above.value / under.value);
  const double down =
      std::hypot(log_distance(above.ci95->low, above.value), log_distance(under.value, under.ci95->high));
  const double up = std::hypot(log_distance(above.value, above.ci95->high), log_distance(under.ci95->low, under.value));
  Between result = nothing(smallest_effect);
  result.comparison.ratio = std::exp(center);
  result.comparison.ci95 = {std::exp(center - down - drift), std::exp(center + up + drift)};
  const double beyond = std::abs(center) - drift;
  const double error = (center > 0 ? down : up) / student_t_critical(0.05, freedom);
  if (beyond > 0) result.p_value = error > 0 ? student_t_two_sided(beyond / error, freedom) : 0;
  return result;
}

}  // namespace

Between compare_between(const record::Metric& a, const record::Metric& b, double drift, double smallest_effect) {
  if (!positive(a) || !positive(b)) return nothing(smallest_effect);
  const std::size_t fewer = std::min(a.samples.size(), b.samples.size());
  if (fewer < kFewest || !has_interval(a) || !has_interval(b)) {
    Between result = nothing(smallest_effect);
    result.comparison.ratio = a.better == record::Better::higher ? b.value / a.value : a.value / b.value;
    return result;
  }
  return combined(a, b, static_cast<double>(fewer - 1), drift, smallest_effect);
}

Between compare_figures(const record::Metric& a, const record::Metric& b, double smallest_effect) {
  if (a.value == b.value && !a.ci95 && !b.ci95)  // nought is like nought
    return {.comparison = {.ratio = 1, .ci95 = {1, 1}, .smallest_effect = smallest_effect}};
  if (!positive(a) || !positive(b)) return nothing(smallest_effect);
  if (has_interval(a) && has_interval(b)) return combined(a, b, kManyDegrees, 0, smallest_effect);
  Between result = nothing(smallest_effect);
  result.comparison.ratio = a.better == record::Better::higher ? b.value / a.value : a.value / b.value;
  if (a.ci95 || b.ci95) return result;
  result.comparison.ci95 = {result.comparison.ratio, result.comparison.ratio};
  result.p_value = 0;
  return result;
}

void decide(std::span<Between> family, double level) {
  std::vector<std::size_t> order(family.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t x, std::size_t y) { return family[x].p_value < family[y].p_value; });
  bool rejecting = true;
  for (std::size_t i = 0; i < order.size(); ++i) {
    Between& item = family[order[i]];
    record::Comparison& comparison = item.comparison;
    rejecting = rejecting && item.p_value <= level / static_cast<double>(order.size() - i);
    const double effect = 1 + comparison.smallest_effect, ratio = comparison.ratio;
    comparison.verdict = record::Verdict::inconclusive;
    if (comparison.ci95.low >= 1 / effect && comparison.ci95.high <= effect)
      comparison.verdict = record::Verdict::same;
    else if (rejecting && (ratio >= effect || ratio <= 1 / effect))
      comparison.verdict = ratio > 1 ? record::Verdict::better : record::Verdict::worse;
  }
}

}  // namespace rl::measure
