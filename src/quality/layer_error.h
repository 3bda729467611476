#pragma once
// Where in the model a candidate leaves the baseline: the error of the residual stream after each layer.

#include <span>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "engine/engine.h"

namespace rl::quality {

struct LayerError {
  int layer = -1;         // -1: the embedding
  double relative = 0;    // |candidate - base| / |base|, Euclidean over tokens and elements
  double snr_db() const;  // signal to noise, -20 log10(relative); infinite where both are equal
};

// Both engines compute the same tokens from an empty cache; what the candidate's layers get is its own, so errors add
// up. Errors: Engine::residuals'.
Result<std::vector<LayerError>> layer_errors(engine::Engine& base, engine::Engine& candidate,
                                             std::span<const TokenId> ids);

}  // namespace rl::quality
