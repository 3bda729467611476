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

// Samples without which no interval of 95% exists and no verdict is given: of fewer the whole range covers with less
// (1 - 2^(1 - n)).
inline constexpr std::size_t kLeastSamples = 6;

struct Plan {
  record::Timing timing = record::Timing::hot;
  int warmup = 2;             // iterations at least, not timed
  Seconds warmup_time{0.02};  // and at least this long (but no longer than the timeout)
  int min_samples = 10;
  int max_samples = 2000;
  Seconds min_time{0.1};  // of all samples together
  Seconds timeout{5};     // after which sampling ends, converged or not: once least_samples are there, or after 4 times
                          // as long
  int least_samples = kLeastSamples;  // fewer where no interval is wanted
  double target = 0.01;               // half width of the interval over the median
  std::uint64_t seed = 1;
  double smallest_effect = 0.02;  // of A/B verdicts
};

// One thing to time. `prepare` runs before each sample outside the timed part (e.g. to evict inputs); `run` does the
// work and returns when it is done (a GPU's work: enqueued and synchronised by `run`). A task without `prepare` that
// takes less than 20 us is repeated within each sample, so that the clock's resolution and cost do not show; samples
// are per repetition all the same (Metric::inner says how many).
struct Task {
  std::string name;
  std::function<Status()> run;
  std::function<Status()> prepare;  // may be empty
};

// Times one task. The metric is named "time", in seconds, with samples, interval, stop reason. Errors: the task's;
// internal ("measure.zero_time") if the clock does not advance while it runs.
Result<record::Metric> run(const Plan& plan, const Task& task);

// Times two tasks interleaved ABBA, so that drift hits both alike. The plan's times and counts are per task. Sampling
// ends when the interval of the ratio is within the target and the verdict is decided; see docs/measuring.md.
struct PairResult {
  record::Metric a, b;
  record::Comparison comparison;  // a is the baseline; named after the tasks
};
Result<PairResult> run_pair(const Plan& plan, const Task& a, const Task& b);

// Times several tasks in turns, forwards and then backwards (A B C C B A ...), so that drift hits all alike and any two
// of them can be compared. Sampling ends when the ratio of every other task to the first is known as run_pair asks.
struct GroupResult {
  std::vector<record::Metric> times;            // of each task
  std::vector<record::Comparison> comparisons;  // [i]: task i + 1 against task 0, named after them
  // Task `candidate` against task `baseline`, any two.
  record::Comparison compare(std::size_t baseline, std::size_t candidate) const;
  std::vector<std::string> names;
  double smallest_effect = 0.02;
};
Result<GroupResult> run_group(const Plan& plan, std::span<const Task> tasks);  // at least two

// Samples a function that returns the quantity itself, e.g. a throughput. Same stop rules. Errors: the function's;
// internal ("measure.not_finite") for a NaN or an infinity.
Result<record::Metric> run_values(const Plan& plan, std::string name, std::string unit, record::Better better,
                                  const std::function<Result<double>()>& sample);

// Sets value, interval, noise and outliers from the samples, the statistic and the seed: the one place where they come
// from, so that whoever has the record can compute them anew, to the bit. Knows the statistics "median" and "inverse
// median" (rates: 1 / the median of 1 / sample, so that it is the rate of the median time) and changes nothing of a
// metric without samples. False for samples of a statistic that it does not know.
bool summarise(record::Metric& metric);

// Derived metrics keep the samples and are summarised anew. rate_of: every sample s becomes amount / s, so that rate *
// time = amount holds for what is shown. scaled: every sample s becomes s * factor. There must be samples.
record::Metric rate_of(const record::Metric& time, std::string name, std::string unit, double amount);
record::Metric scaled(const record::Metric& metric, std::string name, std::string unit, double factor);

// What a reader of the metric should know, for Validity::warnings: sampling ended before the interval was within the
// target, few samples, many outliers, a trend over the run. Empty if there is nothing.
std::vector<std::string> warnings_of(const Plan& plan, const record::Metric& metric);

}  // namespace rl::measure
