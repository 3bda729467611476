#pragma once
// The model a command works on.

#include "base/result.h"
#include "model/model.h"

namespace rl::app {

// Finds the model (model::find_model) and logs what is odd about it but does no harm. Errors: those of find_model.
Result<model::ModelSource> open_model(const std::string& name);

}  // namespace rl::app
