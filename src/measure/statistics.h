#pragma once
// Statistics of timings: robust, without a distribution assumed. docs/measuring.md has every formula and its source.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "record/record.h"

namespace rl::measure {

double median(std::span<const double> values);  // NaN if empty
double quantile(std::span<const double> values, double p);
std::optional<double> relative_noise(std::span<const double> values);  // sd / mean; absent below 5 values
int count_outliers(std::span<const double> values);                    // beyond 3 scaled median absolute deviations

// 95% interval of the median of samples taken in sequence. Holds its level under drift and autocorrelation, as timings
// have them (moving-block bootstrap; the block length comes from the samples).
record::Interval median_ci95(std::span<const double> values, std::uint64_t seed);

// Ratio of two interleaved series a[i], b[i] (pair i taken side by side): its estimate and interval, and the verdict
// against the smallest effect that counts. `better` says whether larger values are better; ratio > 1 means b is better.
record::Comparison compare_pairs(std::span<const double> a, std::span<const double> b, record::Better better,
                                 double smallest_effect, std::uint64_t seed);

}  // namespace rl::measure
