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

struct Dependence {
  std::size_t block = 1;  // length of the bootstrap's blocks
  double effective = 1;   // number of independent samples that would say as much
};

// Block length of Politis & White 2004 (with the correction of Patton, Politis & White 2009) for the moving-block
// bootstrap, computed on the series "above or below the median": the median's error depends on the samples through
// that series alone, and outliers do not disturb it.
Dependence dependence_of(std::span<const double> values, double center) {
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
  Dependence result{.block = 1, .effective = count};
  if (covariance[0] == 0) return result;

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
  const double rho = autocorrelation(side);
  const double inflation = std::max({1.0, spectrum / covariance[0], (1 + rho) / (1 - rho)});
  result.effective = count / inflation;
  if (significant > 0 && spectrum > 0) {
    const double length = std::cbrt(1.5 * slope * slope / (spectrum * spectrum) * count);
    const double longest = std::ceil(std::min(3 * std::sqrt(count), count / 3));
    result.block = static_cast<std::size_t>(std::clamp(std::ceil(length), 1.0, longest));
  }
  return result;
}

// Medians of `kResamples` resamples, sorted. Counting by rank finds a median in O(n) without sorting.
std::vector<double> resampled_medians(std::span<const double> values, std::size_t block, std::uint64_t seed) {
  const std::size_t n = values.size();
  const std::vector<std::uint32_t> ranks = ranks_of(values);
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
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
  return medians;
}

}  // namespace

record::Interval median_ci95(std::span<const double> values, std::uint64_t seed) {
  const std::size_t n = values.size();
  if (n < 2 || !std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); }))
    return {kNaN, kNaN};
  const auto [smallest, largest] = std::minmax_element(values.begin(), values.end());
  if (n < 6) return {*smallest, *largest};

  const double center = median(values);
  const Dependence dependence = dependence_of(values, center);
  const std::vector<double> medians = resampled_medians(values, dependence.block, seed);
  const double low = medians[(kResamples + 1) / 40 - 1], high = medians[kResamples - (kResamples + 1) / 40];

  // Resampling repeats the samples' own spread: too narrow by the t factor where few independent samples are left, and
  // blocks hide the part of the variance that lies between them.
  const double count = static_cast<double>(n);
  const double stretch = student_t_critical(0.05, std::max(1.0, dependence.effective - 1)) / 1.959963984540054 *
                         std::sqrt(count / (count - static_cast<double>(dependence.block) + 1));
  return {center - (center - low) * stretch, center + (high - center) * stretch};
}

}  // namespace rl::measure
