#pragma once
// From rows to answers: picking metrics, combining intervals over points, judging hypotheses, the headline.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lab/experiment.h"
#include "record/record.h"

namespace rl::lab {

const record::Metric* find_metric(const record::Row& row, std::string_view name);
const std::string* find_axis(const record::Row& row, std::string_view axis);

// The same for rows that may be of another version's record, or of a damaged one: empty, NaN or nothing where the row
// has no such axis or metric, or the axis no whole number.
const std::string& axis_of(const record::Row& row, std::string_view axis);
std::optional<std::int64_t> number_of(const record::Row& row, std::string_view axis);
double value_of(const record::Row& row, std::string_view metric);

// An estimate with its interval.
struct Estimate {
  double value = 0;
  record::Interval interval;
};

// Geometric mean of positive ratios over points; the bounds are the geometric means of the bounds, which is at least as
// wide as independent points would give. Empty input: nothing.
std::optional<Estimate> geometric_mean(const std::vector<Estimate>& ratios);

// "95% interval 1.2 to 1.5", or that there were too few samples for one.
std::string interval_text(const record::Interval& interval);

// Judges the hypothesis of that id from the measured estimate, or marks it inconclusive with the reason if there is
// none.
void conclude_hypothesis(record::Experiment& record, std::string_view id, const std::optional<Estimate>& measured,
                         std::string_view reason_if_none);

// The headline's outcome from the experiment's hypotheses: invalid if any is, else refuted if any is, else inconclusive
// if any is, else exceeds if any does, else holds. Skipped ones do not count.
record::Outcome overall(const record::Experiment& record);

}  // namespace rl::lab
