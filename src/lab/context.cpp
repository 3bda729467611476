#include "lab/experiment.h"

namespace rl::lab {

measure::Plan Context::plan() const {
  measure::Plan plan;
  plan.seed = seed;
  plan.target = full() ? 0.005 : 0.02;
  plan.min_time = time({0.1}, {0.5});
  plan.timeout = time({2}, {20});
  return plan;
}

Result<record::Metric> Context::ceiling(const std::string& name) {
  if (const auto known = measured_ceilings.find(name); known != measured_ceilings.end()) return known->second;
  for (const Probe& probe : backend.probes) {
    if (probe.name != name) continue;
    RL_ASSIGN(const std::unique_ptr<ProbeRun> run, probe.prepare(*backend.device));
    RL_ASSIGN(const record::Metric time, measure::run(plan(), {.name = name, .run = [&] { return run->run(); }}));
    return measured_ceilings[name] = measure::rate_of(time, name, probe.unit, run->amount());
  }
  return Error{.kind = ErrorKind::unsupported,
               .what = fmt::format("the {} backend has no probe named {}", backend.name, name)};
}

}  // namespace rl::lab
