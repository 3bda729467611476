#include "quality/layer_error.h"

#include <cmath>

namespace rl::quality {

double LayerError::snr_db() const { return -20 * std::log10(relative); }

Result<std::vector<LayerError>> layer_errors(engine::Engine& base, engine::Engine& candidate,
                                             std::span<const TokenId> ids) {
  std::vector<std::vector<float>> reference;
  RL_TRY(base.residuals(ids, [&](int, const TensorRef& hidden) -> Status {
    const auto* const at = hidden.as<const float>();
    reference.emplace_back(at, at + hidden.elements());
    return ok();
  }));
  std::vector<LayerError> errors;
  RL_TRY(candidate.residuals(ids, [&](int layer, const TensorRef& hidden) -> Status {
    const std::vector<float>& expected = reference[errors.size()];
    const auto* const found = hidden.as<const float>();
    double noise = 0, signal = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const double e = static_cast<double>(expected[i]), difference = static_cast<double>(found[i]) - e;
      noise += difference * difference;
      signal += e * e;
    }
    errors.push_back({.layer = layer, .relative = std::sqrt(noise / signal)});
    return ok();
  }));
  return errors;
}

}  // namespace rl::quality
