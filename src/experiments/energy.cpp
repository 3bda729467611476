#include "experiments/energy.h"

#include <algorithm>

namespace rl::experiments {
namespace {

// A metric of the same samples as `energy`: the last ones, since the first were warm-up.
record::Metric like(const record::Metric& energy, std::string name, std::string unit, record::Better better,
                    const std::vector<double>& values) {
  record::Metric metric = energy;
  metric.name = std::move(name);
  metric.unit = std::move(unit);
  metric.better = better;
  metric.samples.assign(values.end() - std::ssize(energy.samples), values.end());
  measure::summarise(metric);
  return metric;
}

}  // namespace

Result<std::unique_ptr<telemetry::RaplSensor>> open_sensor(const DeviceInfo& device,
                                                           const std::filesystem::path& powercap) {
  if (device.arch.family == Arch::Family::cpu) return telemetry::RaplSensor::open(powercap);
  return Error{.kind = ErrorKind::unsupported,
               .what =
                   "the processor's energy counters (RAPL) do not hold what a GPU uses, and the GPU's own "
                   "counter (NVML) is not read yet",
               .rule = "energy.device",
               .found = "the load runs on " + device.name,
               .hint =
                   "watch the GPU's power beside the run: nvidia-smi --query-gpu=power.draw,power.limit --format=csv "
                   "-l 1; to measure the processor instead: --device cpu"};
}

Result<EnergyMetrics> measure_energy(const measure::Plan& plan, telemetry::EnergySensor& sensor,
                                     const std::function<Seconds()>& now, const measure::Task& task, double tokens) {
  std::vector<double> times, watts;
  const auto sample = [&]() -> Result<double> {
    if (task.prepare) RL_TRY(task.prepare());
    const Seconds start = now();
    RL_ASSIGN(const Joules before, sensor.read());
    RL_TRY(task.run());
    RL_ASSIGN(const Joules after, sensor.read());
    const double seconds = (now() - start).count, joules = after.count - before.count;
    times.push_back(seconds);
    watts.push_back(joules / seconds);
    return joules / tokens;
  };
  RL_ASSIGN(record::Metric energy, measure::run_values(plan, "energy_per_token", "J", record::Better::lower, sample));
  if (*std::min_element(energy.samples.begin(), energy.samples.end()) <= 0)
    return Error{.kind = ErrorKind::internal,
                 .what = "the energy counter stood still during a sample",
                 .rule = "power.no_energy",
                 .hint = "take a larger model, so that a sample is longer"};
  energy.timing = record::Timing::end_to_end;
  record::Metric time = like(energy, "time", "s", record::Better::lower, times);
  return EnergyMetrics{.per_token = energy,
                       .tokens_per_joule = measure::rate_of(energy, "tokens_per_joule", "tok/J", 1),
                       .power = like(energy, "power", "W", record::Better::neither, watts),
                       .throughput = measure::rate_of(time, "throughput", "tok/s", tokens),
                       .time = std::move(time)};
}

}  // namespace rl::experiments
