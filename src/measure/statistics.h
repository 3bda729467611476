#pragma once
// Statistics of timings: robust, without a distribution assumed. docs/measuring.md has every formula and its source.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "record/record.h"

namespace rl::measure {

double median(std::span<const double> values);  // NaN if empty
// Linear between order statistics (type 7 of Hyndman & Fan 1996), 0 <= p <= 1; NaN if empty.
double quantile(std::span<const double> values, double p);
std::optional<double> relative_noise(std::span<const double> values);  // sd / mean; absent below 5 values
int count_outliers(std::span<const double> values);                    // beyond 3 scaled median absolute deviations

// Lag-1 autocorrelation, corrected for its small-sample bias; within [0, 0.95]; 0 below 4 values.
double autocorrelation(std::span<const double> values);

// 95% interval of the median of samples taken in sequence. Holds its level under drift and autocorrelation, as timings
// have them (moving-block bootstrap; the block length comes from the samples). From 2 to 5 samples no 95% interval
// exists without assuming a distribution: it is then [min, max], which covers with 1 - 2^(1-n). NaN below 2.
// `caution`: standard errors by which the autocorrelation is taken higher than estimated; a stop rule, which looks
// again and again and would stop at the look that happens to underestimate it, asks with 1.
record::Interval median_ci95(std::span<const double> values, std::uint64_t seed, double caution = 0);

// Of each of a pair: with fewer it is called neither better nor worse.
inline constexpr std::size_t kVerdictSamples = 10;

// Ratio of two interleaved series a[i], b[i] (pair i taken side by side, in the order AB BA AB BA): its estimate and
// interval, and the verdict against the smallest effect that counts. `better` says whether larger values are better
// (lower is taken for neither); ratio > 1 means b is better. Two neighbouring pairs make one unit (ABBA), in which a
// linear drift cancels. Sizes must be equal; values must be positive and finite. Below 3 units there is no interval
// (0 to infinity; ratio NaN where nothing can be compared); below 5 the verdict is never better or worse.
//   same          the 95% interval lies within 1/(1+smallest_effect) .. 1+smallest_effect
//   better/worse  the estimate is at least smallest_effect away from 1, and 1 is outside the verdict interval, whose
//                 error is spent over repeated looks so that at most 1% of equal pairs ever get this verdict, however
//                 often it was asked for while samples came in
//   inconclusive  all else
// From 5 units on the interval reaches at most three times as far as the units do, from 15 on as far as they do.
// Deterministic: no resampling.
record::Comparison compare_pairs(std::span<const double> a, std::span<const double> b, record::Better better,
                                 double smallest_effect);
// The same but for that limit, which records of before 2026-11-30 do not know.
record::Comparison compare_pairs_unbounded(std::span<const double> a, std::span<const double> b, record::Better better,
                                           double smallest_effect);

}  // namespace rl::measure
