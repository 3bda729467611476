#pragma once
// The simulated machines on which comparisons must hold their promise, and the two ways of comparing on them.

#include <ostream>
#include <string>
#include <vector>

#include "measure/simulate.h"

namespace rl::measure::simulated {

struct Scenario {
  std::string name;
  std::function<Machine(std::uint64_t seed)> make;

  friend void PrintTo(const Scenario& scenario, std::ostream* out) { *out << scenario.name; }
};

// Noise of the machine, which both tasks meet.
inline std::vector<Scenario> machines() {
  return {{"white_1_percent", [](std::uint64_t seed) { return white(seed); }},
          {"white_10_percent", [](std::uint64_t seed) { return white(seed, 0.1); }},
          {"drift_slow", [](std::uint64_t seed) { return drifting(seed, 0.002); }},
          {"drift_fast", [](std::uint64_t seed) { return drifting(seed, 0.02); }},
          {"autocorrelated_0_5", [](std::uint64_t seed) { return correlated(seed, 0.5); }},
          {"autocorrelated_0_8", [](std::uint64_t seed) { return correlated(seed, 0.8); }},
          {"two_states_short", [](std::uint64_t seed) { return two_states(seed, 1.8, 8); }},
          {"two_states_long", [](std::uint64_t seed) { return two_states(seed, 1.8, 200); }},
          {"heavy_tails", [](std::uint64_t seed) { return heavy_tailed(seed); }}};
}

// Noise of each task by itself: pairing does not help, only the estimated autocorrelation does. With fewer than 15
// units that is too uncertain to promise anything.
inline std::vector<Scenario> tasks_apart() {
  return {{"autocorrelated_apart_0_5", [](std::uint64_t seed) { return correlated_apart(seed, 0.5); }},
          {"autocorrelated_apart_0_8", [](std::uint64_t seed) { return correlated_apart(seed, 0.8); }}};
}

inline std::vector<Scenario> all_scenarios() {
  std::vector<Scenario> all = machines();
  const std::vector<Scenario> apart = tasks_apart();
  all.insert(all.end(), apart.begin(), apart.end());
  return all;
}

struct Series {
  std::vector<double> a, b;
};

// Pairs in the order AB BA AB BA; a takes `ratio` times as long as b.
inline Series interleaved(Machine machine, int pairs, double ratio = 1) {
  Series series;
  for (int i = 0; i < pairs; ++i)
    for (const int task : {i % 2, 1 - i % 2})
      (task == 0 ? series.a : series.b).push_back(machine(task) * (task == 0 ? ratio : 1));
  return series;
}

inline bool claims_difference(const record::Comparison& comparison) {
  return comparison.verdict == record::Verdict::better || comparison.verdict == record::Verdict::worse;
}

// So small that the interval alone must prevent false verdicts: with the default of 2% hardly any could happen.
inline constexpr double kStrict = 0.001;

inline int false_verdicts(const Scenario& scenario, int trials, int pairs) {
  int wrong = 0;
  for (int trial = 0; trial < trials; ++trial) {
    const Series s = interleaved(scenario.make(static_cast<std::uint64_t>(trial) * 7919 + 1), pairs);
    wrong += claims_difference(compare_pairs(s.a, s.b, record::Better::lower, kStrict));
  }
  return wrong;
}

// An impatient reader: asks after every ABBA unit and stops at the first difference.
inline int false_verdicts_peeking(const Scenario& scenario, int trials, int pairs) {
  int wrong = 0;
  for (int trial = 0; trial < trials; ++trial) {
    const Series s = interleaved(scenario.make(static_cast<std::uint64_t>(trial) * 104729 + 3), pairs);
    bool claimed = false;
    for (std::size_t seen = 2; seen <= s.a.size() && !claimed; seen += 2)
      claimed = claims_difference(
          compare_pairs(std::span(s.a).first(seen), std::span(s.b).first(seen), record::Better::lower, kStrict));
    wrong += claimed;
  }
  return wrong;
}

// The shipped loop on a simulated clock: tasks of 5 ms.
inline PairResult through_the_loop(const Scenario& scenario, std::uint64_t seed, double ratio, const Plan& plan) {
  Machine machine = scenario.make(seed);
  Clock clock;
  const Task a = task(clock, machine, 0, 0.005 * ratio), b = task(clock, machine, 1, 0.005);
  return run_pair(plan, a, b, clock).value();
}

}  // namespace rl::measure::simulated
