#include "app/machine.h"

#include "measure/measure.h"

namespace rl::app {

Result<BytesPerSecond> read_bandwidth(const ops::Backend& backend) {
  for (const Probe& probe : backend.probes) {
    if (std::string_view(probe.name) != "read_bandwidth") continue;
    RL_ASSIGN(const std::unique_ptr<ProbeRun> run, probe.prepare(*backend.device));
    const measure::Plan plan{.min_samples = 5, .min_time = {0.2}, .timeout = {1}, .target = 0.02};
    RL_ASSIGN(const record::Metric time, measure::run(plan, {.name = probe.name, .run = [&] { return run->run(); }}));
    return BytesPerSecond{run->amount() / time.value};
  }
  return Error{.kind = ErrorKind::unsupported,
               .what = fmt::format("the {} backend has no probe of its read bandwidth", backend.name)};
}

}  // namespace rl::app
