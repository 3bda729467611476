#pragma once
// The verdict algebra: what became of an expectation. The only place where an outcome is decided.

#include <span>
#include <string>

#include "record/record.h"

namespace rl::lab {

// With the measured 95% interval [a, b] and the expected [lo, hi]:
//   refuted       b < lo        surely less than expected
//   exceeds       a > hi        surely more
//   holds         a >= lo       surely at least the lower end
//   inconclusive  otherwise     the interval reaches from below lo to lo or above
//   invalid       a bound or the value is NaN, an interval is upside down, or the value lies outside its interval
// Infinite bounds are allowed: hi = infinity for "at least lo".
record::Outcome outcome_of(const record::Interval& measured, const record::Interval& expected);

// Sets outcome, and reason where there is something to explain. `faults` are the reasons why what it rests on is not
// valid (a failed correctness gate, say): any makes the outcome invalid. Without a measured interval an outcome that is
// skipped or invalid and has its reason stays; else it is inconclusive, nothing was measured.
void judge(record::Hypothesis& hypothesis, std::span<const std::string> faults = {});

}  // namespace rl::lab
