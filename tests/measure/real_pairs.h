#pragma once
// A/A comparisons on this machine, with its clock and its noise, through the shipped loop.

#include "measure/measure.h"

namespace rl::measure {

// A task of some 50 us that the compiler cannot remove.
inline Task busy_task(std::string name) {
  return {.name = std::move(name), .run = [] {
            volatile std::uint64_t state = 1;
            for (int i = 0; i < 20'000; ++i) state = state * 6364136223846793005ULL + 1442695040888963407ULL;
            return ok();
          }};
}

struct RealPairs {
  int false_verdicts = 0, same = 0, samples = 0;
};

inline Result<RealPairs> compare_real_pairs(int pairs, const Plan& plan) {
  RealPairs result;
  for (int i = 0; i < pairs; ++i) {
    RL_ASSIGN(const PairResult pair, run_pair(plan, busy_task("a"), busy_task("b")));
    const record::Verdict verdict = pair.comparison.verdict;
    result.false_verdicts += verdict == record::Verdict::better || verdict == record::Verdict::worse;
    result.same += verdict == record::Verdict::same;
    result.samples += static_cast<int>(pair.a.samples.size());
  }
  return result;
}

}  // namespace rl::measure
