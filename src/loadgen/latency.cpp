#include "loadgen/latency.h"

#include <cmath>

#include "measure/statistics.h"

namespace rl::loadgen {

Latencies latencies_of(const Load& load, Seconds from, const Slo& slo) {
  Latencies found;
  std::optional<Seconds> first;
  Seconds latest, last;
  for (const Served& served : load.requests) {
    if (served.scheduled < from) continue;
    ++found.requests;
    if (!first) first = served.scheduled;
    latest = served.scheduled;
    if (!served.complete() || served.times.empty()) {
      ++found.failed;
      continue;
    }
    ++found.completed;
    const auto n = static_cast<double>(served.times.size());
    const double ttft = (served.times.front() - served.scheduled).count,
                 e2e = (served.times.back() - served.scheduled).count;
    found.ttft.push_back(ttft);
    found.e2e.push_back(e2e);
    found.tokens += std::ssize(served.times);
    last = std::max(last, served.times.back());
    if (n < 2) continue;
    const double tpot = (e2e - ttft) / (n - 1);
    found.tpot.push_back(tpot);
    found.good += ttft <= slo.ttft.count && tpot <= slo.tpot.count;
    for (std::size_t i = 1; i < served.times.size(); ++i)
      found.itl.push_back((served.times[i] - served.times[i - 1]).count);
  }
  if (first) {
    found.span = last - *first;
    found.arriving = latest - *first;
  }
  return found;
}

std::int64_t samples_for_percentile(double p) {
  RL_CHECK(p > 0 && p < 1);
  constexpr double kChance = 0.01;
  // P(at most one of n above) = p^n + n (1 - p) p^(n-1), which falls with n.
  std::int64_t n = 2;
  while (std::pow(p, n) + static_cast<double>(n) * (1 - p) * std::pow(p, n - 1) > kChance) ++n;
  return n;
}

std::optional<record::Metric> percentile(const std::string& name, const std::vector<double>& samples, double p,
                                         bool keep, std::uint64_t seed) {
  if (std::ssize(samples) < samples_for_percentile(p)) return std::nullopt;
  record::Metric metric{.name = fmt::format("{}_p{:g}", name, 100 * p),
                        .unit = "s",
                        .better = record::Better::lower,
                        .value = measure::quantile(samples, p),
                        .statistic = fmt::format("p{:g}", 100 * p),
                        .timing = record::Timing::end_to_end};
  if (p != 0.5 || !keep) return metric;
  metric.statistic = "median";
  metric.samples = samples;
  metric.ci95 = measure::median_ci95(samples, seed);
  metric.noise = measure::relative_noise(samples);
  metric.outliers = measure::count_outliers(samples);
  return metric;
}

Seconds client_delay_p99(const Load& load) {
  std::vector<double> delays;
  for (const Served& served : load.requests) delays.push_back(served.client_delay.count);
  return {delays.empty() ? 0 : measure::quantile(delays, 0.99)};
}

}  // namespace rl::loadgen
