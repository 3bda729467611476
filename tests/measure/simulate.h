#pragma once
// Simulated machines: what a run of a task takes, one run after another, with the noise that real machines show.

#include <cmath>
#include <functional>
#include <random>

#include "measure/timer.h"

namespace rl::measure::simulated {

// The factor by which the next run is slower than nominal. `task`: 0 or 1, which of two tasks runs.
using Machine = std::function<double(int task)>;

struct Noise {
  std::mt19937_64 engine;
  std::normal_distribution<double> normal{};
  std::uniform_real_distribution<double> uniform{};
  explicit Noise(std::uint64_t seed) : engine(seed) {}
  double gauss() { return normal(engine); }
  bool chance(double p) { return uniform(engine) < p; }
};

inline Machine white(std::uint64_t seed, double sd = 0.01) {
  return [noise = Noise(seed), sd](int) mutable { return std::exp(sd * noise.gauss()); };
}

// Gets slower by `per_run` with each run.
inline Machine drifting(std::uint64_t seed, double per_run = 0.002) {
  return [noise = Noise(seed), per_run, runs = 0](int) mutable {
    return (1 + per_run * runs++) * std::exp(0.01 * noise.gauss());
  };
}

// One AR(1) process of the machine that both tasks meet.
inline Machine correlated(std::uint64_t seed, double rho, double sd = 0.03) {
  return [noise = Noise(seed), rho, sd, state = 0.0, first = true](int) mutable {
    state = first ? noise.gauss() : rho * state + std::sqrt(1 - rho * rho) * noise.gauss();
    first = false;
    return std::exp(sd * state);
  };
}

// Each task has an AR(1) process of its own: nothing cancels in a pair, the hardest case for a comparison.
inline Machine correlated_apart(std::uint64_t seed, double rho, double sd = 0.03) {
  return [machines = std::array{correlated(seed, rho, sd), correlated(~seed, rho, sd)}](int task) mutable {
    return machines[static_cast<std::size_t>(task)](task);
  };
}

// Fast and slow for stretches: a virtual processor whose neighbour comes and goes.
inline Machine two_states(std::uint64_t seed, double slowdown = 1.8, double mean_stretch = 40) {
  return [noise = Noise(seed), slowdown, mean_stretch, slow = false](int) mutable {
    if (noise.chance(1 / mean_stretch)) slow = !slow;
    return (slow ? slowdown : 1) * std::exp(0.01 * noise.gauss());
  };
}

// One run in twenty is interrupted, by a Pareto distributed time without a variance (tail exponent 1.5).
inline Machine heavy_tailed(std::uint64_t seed) {
  return [noise = Noise(seed)](int) mutable {
    const double interruption = noise.chance(0.05) ? 0.05 * std::pow(1 - noise.uniform(noise.engine), -1 / 1.5) : 0.0;
    return std::exp(0.01 * noise.gauss()) + interruption;
  };
}

// A clock that stands still but for advance().
class Clock final : public Timer {
 public:
  Seconds now() override { return now_; }
  void advance(double seconds) { now_ += Seconds{seconds}; }

 private:
  Seconds now_{1000};
};

// A task that takes `seconds` on a nominal machine.
inline Task task(Clock& clock, Machine& machine, int which, double seconds) {
  return {.name = which == 0 ? "a" : "b", .run = [&clock, &machine, which, seconds] {
            clock.advance(seconds * machine(which));
            return ok();
          }};
}

}  // namespace rl::measure::simulated
