#pragma once
// The measurement core: the only code that times anything. A measurement warms up, samples until the 95% interval of
// the median is narrow enough (or time is up, and says so), and returns every sample with how it was taken.

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "measure/statistics.h"
#include "record/record.h"

namespace rl::measure {

struct Plan {
  record::Timing timing = record::Timing::hot;
  int warmup = 2;             // iterations at least, not timed
  Seconds warmup_time{0.02};  // and at least this long
  int min_samples = 10;
  int max_samples = 2000;
  Seconds min_time{0.1};  // of all samples together
  Seconds timeout{5};     // after which sampling ends, converged or not
  double target = 0.01;   // half width of the interval over the median
  std::uint64_t seed = 1;
  double smallest_effect = 0.02;  // of A/B verdicts
};

// One thing to time. `prepare` runs before each sample outside the timed part (e.g. to evict inputs); `run` does the
// work and returns when it is done (a GPU's work: enqueued and synchronised by `run`).
struct Task {
  std::string name;
  std::function<Status()> run;
  std::function<Status()> prepare;  // may be empty
};

// Times one task. The metric is named "time", in seconds, with samples, interval, stop reason. Errors: the task's.
Result<record::Metric> run(const Plan& plan, const Task& task);

// Times two tasks interleaved ABBA, so that drift hits both alike.
struct PairResult {
  record::Metric a, b;
  record::Comparison comparison;  // a is the baseline
};
Result<PairResult> run_pair(const Plan& plan, const Task& a, const Task& b);

// Samples a function that returns the quantity itself, e.g. a throughput. Same stop rules.
Result<record::Metric> run_values(const Plan& plan, std::string name, std::string unit, record::Better better,
                                  const std::function<Result<double>()>& sample);

// Derived metrics keep the samples: every sample s becomes amount / s (a rate) or s / amount (a cost).
record::Metric rate_of(const record::Metric& time, std::string name, std::string unit, double amount);

}  // namespace rl::measure
