// What is said about samples, computed from them alone.

#include <limits>

#include "measure/measure.h"

namespace rl::measure {
namespace {

std::vector<double> inverses(const std::vector<double>& values) {
  std::vector<double> result;
  for (const double v : values) result.push_back(1 / v);
  return result;
}

// An interval that reaches down to no time at all has no upper bound as a rate.
record::Interval inverse(const record::Interval& interval) {
  return {1 / interval.high, interval.low > 0 ? 1 / interval.low : std::numeric_limits<double>::infinity()};
}

}  // namespace

bool summarise(record::Metric& metric) {
  if (metric.samples.empty()) return true;
  const bool inverted = metric.statistic == "inverse median";
  if (!inverted && metric.statistic != "median") return false;
  metric.ci95.reset();
  const std::vector<double>& samples = metric.samples;
  if (inverted) {
    const std::vector<double> times = inverses(samples);
    metric.value = 1 / median(times);
    if (samples.size() >= 2) metric.ci95 = inverse(median_ci95(times, metric.seed));
  } else {
    metric.value = median(samples);
    if (samples.size() >= 2) metric.ci95 = median_ci95(samples, metric.seed);
  }
  metric.noise = relative_noise(samples);
  metric.outliers = count_outliers(samples);
  return true;
}

record::Metric rate_of(const record::Metric& time, std::string name, std::string unit, double amount) {
  RL_CHECK(time.statistic == "median");
  record::Metric rate = time;
  rate.name = std::move(name);
  rate.unit = std::move(unit);
  rate.better = record::Better::higher;
  rate.statistic = "inverse median";
  for (double& sample : rate.samples) sample = amount / sample;
  RL_CHECK(!rate.samples.empty());
  summarise(rate);
  return rate;
}

record::Metric scaled(const record::Metric& metric, std::string name, std::string unit, double factor) {
  record::Metric result = metric;
  result.name = std::move(name);
  result.unit = std::move(unit);
  for (double& sample : result.samples) sample *= factor;
  RL_CHECK(!result.samples.empty());
  summarise(result);
  return result;
}

}  // namespace rl::measure
