#pragma once
// The parts of the power experiment that tests replace.

#include <functional>
#include <memory>

#include "experiments/energy.h"
#include "lab/experiment.h"

namespace rl::experiments {

// Work whose energy is measured; `tokens` of one run.
struct PowerLoad {
  measure::Task task;
  double tokens = 0;
};

struct PowerParts {
  std::filesystem::path powercap = telemetry::kPowercapFolder;
  std::function<Seconds()> now = monotonic_now;
  std::function<void(Seconds)> sleep = sleep_for;
  // Of "prefill" or "decode". Empty: the engine with the run's model.
  std::function<Result<PowerLoad>(lab::Context&, const std::string& phase)> load = {};
};

std::unique_ptr<lab::Experiment> make_power(PowerParts parts = {});

}  // namespace rl::experiments
