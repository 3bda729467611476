#include "lab/experiment.h"

namespace rl::lab {

bool Context::on_gpu() const {
  return backend.device != nullptr && backend.device->info().arch.family == Arch::Family::cuda;
}

AxisSet Context::axis_set() const {
  if (!full()) return AxisSet::quick;
  return on_gpu() ? AxisSet::gpu : AxisSet::full;
}

Seconds Context::time(Seconds quick, Seconds full_mode, Seconds gpu) const {
  return {effort * (!full() ? quick : on_gpu() ? gpu : full_mode).count};
}

measure::Plan Context::plan() const {
  measure::Plan plan;
  plan.seed = seed;
  plan.target = full() ? 0.005 : 0.02;
  plan.min_time = time({0.1}, {0.5}, {0.3});
  plan.timeout = time({1.2}, {20}, {1.2});
  return plan;
}

Result<std::unique_ptr<engine::Engine>> Context::engine(const engine::EngineOptions& options) {
  return weights.engine(model, backend, memory, options);
}

Result<bool> Context::has_room(std::string_view axis, const std::string& what, std::int64_t room,
                               record::Experiment& record) const {
  const std::int64_t longest = model.config.max_positions;
  if (room <= longest) return true;
  if (axes.contains(axis))
    return Error{.kind = ErrorKind::usage,
                 .what = what + " does not fit the model's context",
                 .rule = "lab.context",
                 .field = "--" + std::string(axis),
                 .expected = fmt::format("room for at most {} tokens", longest),
                 .found = fmt::format("{}", room)};
  record.notes.push_back(
      fmt::format("Left out: {}, which needs a context of {}; the model has {}.", what, room, longest));
  return false;
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
