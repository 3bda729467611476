#pragma once
// Runs experiments and collects their record.

#include <functional>

#include "lab/experiment.h"

namespace rl::lab {

// The points an experiment would measure. Errors: usage (an override of no axis, or with a value it cannot have).
Result<std::vector<Point>> points_of(const Experiment& experiment, const Context& context);

// About how long it takes in the context's mode and on its device.
Seconds expected_time(const Info& info, const Context& context);

// Runs one experiment to its record. What goes wrong becomes part of the record: skipped (not available, or the device
// was lost before), failed (begin or conclude, or the device was lost meanwhile: no further point is measured), or
// invalid rows. Errors: usage only.
Result<record::Experiment> run_experiment(const Entry& entry, Context& context);

}  // namespace rl::lab
