// The 95% interval of the median by the moving-block bootstrap.

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "measure/statistics.h"
#include "measure/student_t.h"

namespace rl::measure {
namespace {

constexpr int kResamples = 999;  // (kResamples + 1) * 0.025 is whole: the limits are order statistics
constexpr double kNormal95 = 1.959963984540054;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// SplitMix64 (Steele, Lea & Flood 2014).
struct Random {
  std::uint64_t state;
  std::uint64_t next() {
    std::uint64_t z = (state += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  // Uniform in [0, bound): the high half of a 128-bit product; its bias is below bound / 2^64.
  std::size_t below(std::size_t bound) {
    return static_cast<std::size_t>((static_cast<unsigned __int128>(next()) * bound) >> 64);
  }
};

// Where each value lies in the sorted order; ties get places of their own, in sequence.
std::vector<std::uint32_t> ranks_of(std::span<const double> values) {
  std::vector<std::uint32_t> order(values.size()), ranks(values.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) { return values[a] < values[b]; });
  for (std::uint32_t place = 0; place < order.size(); ++place) ranks[order[place]] = place;
  return ranks;
}

// Block length of Politis & White 2004 (with the correction of Patton, Politis & White 2009) for the moving-block
// bootstrap, computed on the series "above or below the median": the median's error depends on the samples through
// that series alone, and outliers do not disturb it.
std::size_t block_length(std::span<const double> values, double center) {
  const std::size_t n = values.size();
  const double count = static_cast<double>(n);
  std::vector<double> side(n);
  for (std::size_t i = 0; i < n; ++i) side[i] = values[i] > center ? 1 : values[i] < center ? -1 : 0;
  const std::size_t run = std::max<std::size_t>(5, static_cast<std::size_t>(std::sqrt(std::log10(count))));
  const std::size_t last_lag = std::min(n - 1, static_cast<std::size_t>(std::ceil(std::sqrt(count))) + run);
  std::vector<double> covariance(last_lag + 1, 0.0);
  for (std::size_t lag = 0; lag <= last_lag; ++lag) {
    for (std::size_t i = lag; i < n; ++i) covariance[lag] += side[i] * side[i - lag];
    covariance[lag] /= count;
  }
  if (covariance[0] == 0) return 1;

  // The last lag before `run` insignificant ones in a row.
  const double threshold = 2 * std::sqrt(std::log10(count) / count) * covariance[0];
  std::size_t significant = 0;
  for (std::size_t lag = 1; lag <= last_lag && lag <= significant + run; ++lag)
    if (std::abs(covariance[lag]) > threshold) significant = lag;
  const std::size_t window = std::min(last_lag, 2 * std::max<std::size_t>(1, significant));
  double spectrum = covariance[0], slope = 0;
  for (std::size_t lag = 1; lag <= window; ++lag) {
    const double x = static_cast<double>(lag) / static_cast<double>(window);
    const double weight = x <= 0.5 ? 1 : 2 * (1 - x);  // flat-top
    spectrum += 2 * weight * covariance[lag];
    slope += 2 * weight * static_cast<double>(lag) * covariance[lag];
  }
  if (significant == 0 || spectrum <= 0) return 1;
  const double length = std::cbrt(1.5 * slope * slope / (spectrum * spectrum) * count);
  const double longest = std::ceil(std::min(3 * std::sqrt(count), count / 3));
  return static_cast<std::size_t>(std::clamp(std::ceil(length), 1.0, longest));
}

// The 2.5% and 97.5% points of the medians of `kResamples` resamples. Counting by rank finds a median in O(n) without
// sorting.
record::Interval resampled_interval(std::span<const double> sorted, std::span<const std::uint32_t> ranks,
                                    std::size_t block, std::uint64_t seed) {
  const std::size_t n = sorted.size();
  Random random{seed};
  std::vector<std::uint32_t> counts(n);
  std::vector<double> medians;
  for (int resample = 0; resample < kResamples; ++resample) {
    std::fill(counts.begin(), counts.end(), 0u);
    for (std::size_t drawn = 0; drawn < n;) {
      const std::size_t start = random.below(n - block + 1);
      const std::size_t stop = start + std::min(block, n - drawn);
      for (std::size_t i = start; i < stop; ++i) ++counts[ranks[i]];
      drawn += stop - start;
    }
    // The two middle places (equal if n is odd).
    const std::size_t lower = (n - 1) / 2, upper = n / 2;
    std::size_t place = 0, seen = counts[0];
    while (seen <= lower) seen += counts[++place];
    const double low = sorted[place];
    while (seen <= upper) seen += counts[++place];
    medians.push_back(low + (sorted[place] - low) / 2);
  }
  std::sort(medians.begin(), medians.end());
  return {medians[(kResamples + 1) / 40 - 1], medians[kResamples - (kResamples + 1) / 40]};
}

}  // namespace

record::Interval median_ci95(std::span<const double> values, std::uint64_t seed, double caution) {
  const std::size_t n = values.size();
  if (n < 2 || !std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); }))
    return {kNaN, kNaN};
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  if (n < 6) return {sorted.front(), sorted.back()};

  const double center = median(values);
  const std::vector<std::uint32_t> ranks = ranks_of(values);
  const std::size_t block = block_length(values, center);
  const record::Interval blocks = resampled_interval(sorted, ranks, block, seed);

  // From few samples the blocks see too little of the dependence. The other view: as many independent samples as the
  // autocorrelation of the ranks leaves, taken as AR(1). The wider of the two counts.
  const double count = static_cast<double>(n);
  const std::vector<double> series(ranks.begin(), ranks.end());
  const double rho = std::min(autocorrelation(series) + caution / std::sqrt(count), 0.95);
  const double inflation = std::min((1 + rho) / (1 - rho), count / 2);
  const record::Interval single = block == 1 ? blocks : resampled_interval(sorted, ranks, 1, seed);
  const double spread = std::sqrt(inflation * (1 - 1 / count) / (1 - inflation / count));
  const double hidden = std::sqrt(count / (count - static_cast<double>(block) + 1));  // variance between blocks
  const double student = student_t_critical(0.05, std::max(1.0, count / inflation - 1)) / kNormal95;
  // Where hardly one independent sample is left, t factors say "anything": the range of what was seen bounds it.
  const double widest = sorted.back() - sorted.front();
  const double below = student * std::max((center - blocks.low) * hidden, (center - single.low) * spread);
  const double above = student * std::max((blocks.high - center) * hidden, (single.high - center) * spread);
  return {center - std::min(below, widest), center + std::min(above, widest)};
}

}  // namespace rl::measure
