#include "lab/hypothesis.h"

#include <cmath>

#include <fmt/format.h>

#include "base/units.h"

namespace rl::lab {
namespace {

using record::Outcome;

bool well_formed(const record::Interval& interval) {
  return interval.low <= interval.high;  // false for NaN
}

std::string text(const record::Interval& interval) {
  return fmt::format("[{}, {}]", format_significant(interval.low), format_significant(interval.high));
}

}  // namespace

Outcome outcome_of(const record::Interval& measured, const record::Interval& expected) {
  if (!well_formed(measured) || !well_formed(expected)) return Outcome::invalid;
  // From nothing to infinity: too few samples for an interval, which agrees with everything.
  if (measured.low <= 0 && std::isinf(measured.high)) return Outcome::inconclusive;
  if (measured.high < expected.low) return Outcome::refuted;
  if (measured.low > expected.high) return Outcome::exceeds;
  if (measured.low >= expected.low) return Outcome::holds;
  return Outcome::inconclusive;
}

void judge(record::Hypothesis& hypothesis, std::span<const std::string> faults) {
  if (!faults.empty()) {
    hypothesis.outcome = Outcome::invalid;
    hypothesis.reason = fmt::format("{}", fmt::join(faults, "; "));
    return;
  }
  if (!hypothesis.measured) {
    const bool settled = hypothesis.outcome == Outcome::skipped || hypothesis.outcome == Outcome::invalid;
    if (settled && !hypothesis.reason.empty()) return;
    hypothesis.outcome = Outcome::inconclusive;
    hypothesis.reason = "nothing was measured";
    return;
  }
  const record::Interval& measured = *hypothesis.measured;
  hypothesis.reason.clear();
  hypothesis.outcome = outcome_of(measured, hypothesis.expected);
  if (hypothesis.outcome == Outcome::invalid) {
    hypothesis.reason =
        fmt::format("not two intervals: measured {}, expected {}", text(measured), text(hypothesis.expected));
  } else if (const auto& value = hypothesis.measured_value;
             value && !(*value >= measured.low && *value <= measured.high)) {  // NaN too
    hypothesis.outcome = Outcome::invalid;
    hypothesis.reason =
        fmt::format("the value {} lies outside its interval {}", format_significant(*value), text(measured));
  } else if (hypothesis.outcome == Outcome::inconclusive) {
    hypothesis.reason = std::isinf(measured.high) && measured.low <= 0
                            ? "too few samples for an interval"
                            : fmt::format("the interval {} has the least expected, {}, inside", text(measured),
                                          format_significant(hypothesis.expected.low));
  }
}

}  // namespace rl::lab
