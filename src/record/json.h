#pragma once
// A run as JSON and back. Doubles keep every bit (shortest round-trip form). JSON has no NaN and no infinity: they are
// written as null, with the metric's row marked invalid by whoever made it. Null is read as NaN, and as the missing
// bound of an interval: low null is -infinity, high null is +infinity.

#include <string>
#include <string_view>

#include "base/result.h"
#include "record/record.h"

namespace rl::record {

std::string to_json(const Run& run);
// One experiment alone, as it stands in a run's "experiments".
std::string to_json(const Experiment& experiment);

// Every field must be there once, nothing else may be, and each must have its type. Errors: invalid_input with the
// field's path ("experiments[0].rows[2].metrics[1].unit"); unsupported for a schema version this program does not know.
Result<Run> from_json(std::string_view json, std::string_view file_name);
Result<Experiment> experiment_from_json(std::string_view json, std::string_view file_name);

}  // namespace rl::record
