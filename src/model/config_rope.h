#pragma once
// The rotary embedding's part of config.json.

#include "model/config.h"
#include "model/json.h"

namespace rl::model {

// Fills config.rope from `rope_parameters` (transformers 5), or `rope_theta` and `rope_scaling`; both may be there if
// they agree. config.max_positions must have been read. Errors: invalid_input (config.rope_*, json.*); unsupported for
// a type of scaling other than linear and llama3.
Status read_rope(ModelConfig& config, const json::Value& root);

}  // namespace rl::model
