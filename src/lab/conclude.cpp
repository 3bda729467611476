#include "lab/conclude.h"

#include <cmath>
#include <limits>

#include "lab/hypothesis.h"
#include "lab/point.h"

namespace rl::lab {

const record::Metric* find_metric(const record::Row& row, std::string_view name) {
  for (const record::Metric& metric : row.metrics)
    if (metric.name == name) return &metric;
  return nullptr;
}

const std::string* find_axis(const record::Row& row, std::string_view axis) {
  for (const auto& [name, value] : row.axes)
    if (name == axis) return &value;
  return nullptr;
}

const std::string& axis_of(const record::Row& row, std::string_view axis) {
  static const std::string none;
  const std::string* value = find_axis(row, axis);
  return value ? *value : none;
}

std::optional<std::int64_t> number_of(const record::Row& row, std::string_view axis) {
  return parse_number(axis_of(row, axis));
}

double value_of(const record::Row& row, std::string_view metric) {
  const record::Metric* found = find_metric(row, metric);
  return found ? found->value : std::numeric_limits<double>::quiet_NaN();
}

std::optional<Estimate> geometric_mean(const std::vector<Estimate>& ratios) {
  if (ratios.empty()) return std::nullopt;
  double value = 0, low = 0, high = 0;
  for (const Estimate& ratio : ratios) {
    value += std::log(ratio.value);
    low += std::log(ratio.interval.low);
    high += std::log(ratio.interval.high);
  }
  const double n = static_cast<double>(ratios.size());
  return Estimate{std::exp(value / n), {std::exp(low / n), std::exp(high / n)}};
}

std::string interval_text(const record::Interval& interval) {
  if (!std::isfinite(interval.high)) return "too few samples for an interval";
  return fmt::format("95% interval {} to {}", format_significant(interval.low), format_significant(interval.high));
}

void conclude_hypothesis(record::Experiment& record, std::string_view id, const std::optional<Estimate>& measured,
                         std::string_view reason_if_none) {
  for (record::Hypothesis& hypothesis : record.hypotheses) {
    if (hypothesis.id != id) continue;
    if (measured) {
      hypothesis.measured_value = measured->value;
      hypothesis.measured = measured->interval;
      judge(hypothesis);
    } else {
      hypothesis.outcome = record::Outcome::inconclusive;
      hypothesis.reason = reason_if_none;
    }
    return;
  }
  RL_CHECK_MSG(false, id);
}

record::Outcome overall(const record::Experiment& record) {
  using record::Outcome;
  for (const Outcome decisive :
       {Outcome::invalid, Outcome::refuted, Outcome::inconclusive, Outcome::exceeds, Outcome::holds})
    for (const record::Hypothesis& hypothesis : record.hypotheses)
      if (hypothesis.outcome == decisive) return decisive;
  return Outcome::skipped;
}

}  // namespace rl::lab
