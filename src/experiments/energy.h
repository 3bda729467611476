#pragma once
// Energy of a load by the machine's own counters: each sample is one run, with counter and clock read before and after.

#include <filesystem>
#include <functional>
#include <memory>

#include "base/clock.h"
#include "device/device.h"
#include "measure/measure.h"
#include "telemetry/energy.h"

namespace rl::experiments {

// Where energy is read and limits are set, and the time that goes with it: tests replace them.
struct EnergyParts {
  std::filesystem::path powercap = telemetry::kPowercapFolder;
  std::function<Seconds()> now = monotonic_now;
  std::function<void(Seconds)> sleep = sleep_for;
};

// The processor's counters, for a load on that device. Errors: the sensor's; unsupported "energy.device" for a load on
// a GPU, whose energy these counters do not hold: a figure from them would be of something else.
Result<std::unique_ptr<telemetry::RaplSensor>> open_sensor(const DeviceInfo& device,
                                                           const std::filesystem::path& powercap);

struct EnergyMetrics {
  record::Metric per_token;         // "energy_per_token", J
  record::Metric tokens_per_joule;  // tok/J: tokens per second and watt
  record::Metric power;             // W, mean of a sample
  record::Metric throughput;        // tok/s
  record::Metric time;              // s
};

// All of the same samples of `task`, whose one run makes `tokens`. Errors: the task's and the sensor's; internal
// "power.no_energy" if the counter stands still during a sample.
Result<EnergyMetrics> measure_energy(const measure::Plan& plan, telemetry::EnergySensor& sensor,
                                     const std::function<Seconds()>& now, const measure::Task& task, double tokens);

}  // namespace rl::experiments
