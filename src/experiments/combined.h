#pragma once
// The parts of the experiment `combined` that tests replace.

#include <memory>

#include "experiments/energy.h"
#include "lab/experiment.h"

namespace rl::experiments {

std::unique_ptr<lab::Experiment> make_combined(EnergyParts parts = {});

}  // namespace rl::experiments
