#pragma once
// Runs experiments and collects their record.

#include <functional>

#include "lab/experiment.h"

namespace rl::lab {

// The points an experiment would measure. Errors: usage (an override of no axis).
Result<std::vector<Point>> points_of(const Experiment& experiment, const Context& context);

// Runs one experiment to its record. What goes wrong becomes part of the record: skipped (not available), failed (begin
// or conclude), or invalid rows. Errors: usage only.
Result<record::Experiment> run_experiment(const Entry& entry, Context& context);

}  // namespace rl::lab
