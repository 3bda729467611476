#pragma once
// Series of two runs, made at different times: what can be said of them, and what not. docs/measuring.md has the
// formulas.

#include <cstdint>
#include <span>
#include <vector>

#include "record/record.h"

namespace rl::measure {

// Ratio of the medians with its 95% interval: > 1 is better (Better::neither is taken as lower). Each series brings the
// interval of its own median (median_ci95, so drift and autocorrelation within a run are in it); the limits are
// combined on the logarithms (MOVER, Zou & Donner 2008). `drift` (a logarithm, at least 0) widens the interval at both
// ends: by so much may the machine have changed between the runs. `p_value` is of "no difference beyond the drift".
// From fewer than 6 samples of either there is no interval (0 to infinity) and p is 1. Verdicts are decide()'s.
struct Between {
  record::Comparison comparison;
  double p_value = 1;
};
Between compare_between(const record::Metric& a, const record::Metric& b, double drift, double smallest_effect);

// The same of two figures without samples: with intervals of their own, or exact (counted) without.
Between compare_figures(const record::Metric& a, const record::Metric& b, double smallest_effect);

// Verdicts of a family, all at once. better or worse: the ratio is at least the smallest effect away from 1, and its p
// is rejected by Holm's procedure (Holm 1979), so that the chance of one or more false ones in the family is at most
// `level`; same: the 95% interval lies within the smallest effect; inconclusive: all else.
void decide(std::span<Between> family, double level);

}  // namespace rl::measure
