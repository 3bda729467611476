#pragma once
// A run as JSON and back. Doubles keep every bit (shortest round-trip form); NaN and infinities are written as null
// with the metric's row marked invalid by whoever made it.

#include <string>
#include <string_view>

#include "base/result.h"
#include "record/record.h"

namespace rl::record {

std::string to_json(const Run& run);
// Errors: invalid_input with the field's path; unsupported for a schema version this program does not know.
Result<Run> from_json(std::string_view json, std::string_view file_name);

}  // namespace rl::record
