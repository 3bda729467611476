#include "measure/measure.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/clock.h"
#include "measure/timer.h"

namespace rl::measure {
namespace {

// A sample shorter than this is repeated to last about kBatchSeconds: two clock readings cost some 50 ns, 0.05% of it.
constexpr double kShortSeconds = 20e-6;
constexpr double kBatchSeconds = 100e-6;
constexpr int kMostRepetitions = 1 << 20;
constexpr double kOvertime = 4;      // timeouts that sampling may take for the least samples
constexpr double kLookGrowth = 1.5;  // convergence is looked at when so many times more samples are there

class MonotonicTimer final : public Timer {
 public:
  Seconds now() override { return monotonic_now(); }
};

Error zero_time(const std::string& name) {
  return {.kind = ErrorKind::internal,
          .what = fmt::format("'{}' took no time: the clock did not advance while it ran", name),
          .rule = "measure.zero_time"};
}

// One task with what the warm-up found out about it.
class Sampler {
 public:
  Sampler(const Task& task, Timer& timer) : task_(task), timer_(timer) {}

  Status warm_up(const Plan& plan) {
    const Seconds start = timer_.now();
    double shortest = std::numeric_limits<double>::infinity();
    for (;;) {
      const Seconds elapsed = timer_.now() - start;
      if (warmup_ > 0 && elapsed >= plan.timeout) break;
      if (warmup_ >= plan.warmup && elapsed >= plan.warmup_time) break;
      if (warmup_ >= kMostRepetitions) break;
      RL_ASSIGN(const double seconds, time(1));
      shortest = std::min(shortest, seconds);
      ++warmup_;
    }
    if (task_.prepare || shortest >= kShortSeconds) return ok();
    return choose_inner();
  }

  // Seconds of one repetition.
  Result<double> sample() {
    RL_ASSIGN(const double seconds, time(inner_));
    if (!(seconds > 0)) return zero_time(task_.name);
    return seconds / inner_;
  }

  int warmup() const { return warmup_; }
  int inner() const { return inner_; }

 private:
  Result<double> time(int repetitions) {
    if (task_.prepare) RL_TRY(task_.prepare());
    const Seconds start = timer_.now();
    for (int i = 0; i < repetitions; ++i) RL_TRY(task_.run());
    return (timer_.now() - start).count;
  }

  // Doubles the repetitions until a batch is long enough to tell how long one is. Counts as warm-up.
  Status choose_inner() {
    for (int repetitions = 1; repetitions <= kMostRepetitions; repetitions *= 2) {
      RL_ASSIGN(const double seconds, time(repetitions));
      warmup_ += repetitions;
      if (seconds < kBatchSeconds / 4 && repetitions < kMostRepetitions) continue;
      if (!(seconds > 0)) return zero_time(task_.name);
      const double needed = std::ceil(kBatchSeconds * repetitions / seconds);
      inner_ = static_cast<int>(std::clamp(needed, 1.0, static_cast<double>(kMostRepetitions)));
      break;
    }
    return ok();
  }

  const Task& task_;
  Timer& timer_;
  int warmup_ = 0, inner_ = 1;
};

// Decides after each sample whether sampling goes on. Convergence is looked at rarely: each look costs a bootstrap, and
// each is one more chance to stop at a lucky moment.
class StopRule {
 public:
  // `tasks` sample side by side: times are for all of them together.
  StopRule(const Plan& plan, Timer& timer, int tasks)
      : plan_(plan), timer_(timer), tasks_(tasks), start_(timer.now()), next_look_(std::max(1, plan.min_samples)) {}

  // `samples` per task so far, of `sampled` seconds in all. Stop::none: go on.
  record::Stop after(int samples, Seconds sampled, const std::function<bool()>& converged) {
    if (samples >= next_look_ && sampled.count >= plan_.min_time.count * tasks_) {
      if (converged()) return record::Stop::converged;
      next_look_ = std::max(samples + 1, static_cast<int>(std::ceil(samples * kLookGrowth)));
    }
    if (samples >= plan_.max_samples) return record::Stop::max_samples;
    // Of fewer than the least samples nothing could be said, which a little more time mends.
    const double timeouts = (timer_.now() - start_).count / (plan_.timeout.count * tasks_);
    const bool enough = samples >= plan_.least_samples;
    return timeouts >= (enough ? 1 : kOvertime) ? record::Stop::timeout : record::Stop::none;
  }

 private:
  const Plan& plan_;
  Timer& timer_;
  int tasks_;
  Seconds start_;
  int next_look_;
};

double half_width(const record::Interval& interval) { return 0.5 * (interval.high - interval.low); }

bool within_target(const Plan& plan, const std::vector<double>& samples) {
  // NaN compares false: goes on.
  return half_width(median_ci95(samples, plan.seed, 1)) <= plan.target * std::abs(median(samples));
}

record::Metric time_metric(const Plan& plan, const Sampler& sampler) {
  return {.name = "time",
          .unit = "s",
          .better = record::Better::lower,
          .timing = plan.timing,
          .warmup = sampler.warmup(),
          .inner = sampler.inner(),
          .seed = plan.seed};
}

// The ratio is known as well as asked for, and what it says is clear; or it is known so well that more samples would
// not make it clearer (an effect that lies right at the smallest one that counts).
bool decided(const Plan& plan, const record::Comparison& comparison) {
  const double half = half_width(comparison.ci95) / comparison.ratio;
  return half <= plan.target &&
         (comparison.verdict != record::Verdict::inconclusive || half <= plan.smallest_effect / 4);
}

}  // namespace

Result<record::Metric> run(const Plan& plan, const Task& task, Timer& timer) {
  Sampler sampler(task, timer);
  RL_TRY(sampler.warm_up(plan));
  record::Metric metric = time_metric(plan, sampler);
  Seconds sampled;
  StopRule rule(plan, timer, 1);
  while (metric.stop == record::Stop::none) {
    RL_ASSIGN(const double seconds, sampler.sample());
    metric.samples.push_back(seconds);
    sampled += Seconds{seconds * sampler.inner()};
    metric.stop = rule.after(static_cast<int>(metric.samples.size()), sampled,
                             [&] { return within_target(plan, metric.samples); });
  }
  summarise(metric);
  return metric;
}

record::Comparison GroupResult::compare(std::size_t baseline, std::size_t candidate) const {
  record::Comparison comparison =
      compare_pairs(times[baseline].samples, times[candidate].samples, record::Better::lower, smallest_effect);
  comparison.baseline = names[baseline];
  comparison.candidate = names[candidate];
  comparison.metric = times[baseline].name;
  return comparison;
}

Result<GroupResult> run_group(const Plan& plan, std::span<const Task> tasks, Timer& timer) {
  RL_CHECK(tasks.size() >= 2);
  GroupResult result{.smallest_effect = plan.smallest_effect};
  std::vector<Sampler> samplers;
  for (const Task& task : tasks) {
    RL_TRY(samplers.emplace_back(task, timer).warm_up(plan));
    result.times.push_back(time_metric(plan, samplers.back()));
    result.names.push_back(task.name);
  }
  Seconds sampled;
  const auto take = [&](std::size_t i) -> Status {
    RL_ASSIGN(const double seconds, samplers[i].sample());
    result.times[i].samples.push_back(seconds);
    sampled += Seconds{seconds * samplers[i].inner()};
    return ok();
  };
  const auto compare = [&] {
    result.comparisons.clear();
    for (std::size_t i = 1; i < tasks.size(); ++i) result.comparisons.push_back(result.compare(0, i));
    return std::all_of(result.comparisons.begin(), result.comparisons.end(),
                       [&](const record::Comparison& comparison) { return decided(plan, comparison); });
  };
  StopRule rule(plan, timer, static_cast<int>(tasks.size()));
  record::Stop stop = record::Stop::none;
  while (stop == record::Stop::none) {
    for (std::size_t i = 0; i < tasks.size(); ++i) RL_TRY(take(i));
    for (std::size_t i = tasks.size(); i-- > 0;) RL_TRY(take(i));
    stop = rule.after(static_cast<int>(result.times[0].samples.size()), sampled, compare);
  }
  compare();
  for (record::Metric& metric : result.times) {
    metric.stop = stop;
    summarise(metric);
  }
  return result;
}

Result<PairResult> run_pair(const Plan& plan, const Task& a, const Task& b, Timer& timer) {
  const Task tasks[] = {a, b};
  RL_ASSIGN(GroupResult group, run_group(plan, tasks, timer));
  return PairResult{std::move(group.times[0]), std::move(group.times[1]), std::move(group.comparisons[0])};
}

Result<record::Metric> run_values(const Plan& plan, std::string name, std::string unit, record::Better better,
                                  const std::function<Result<double>()>& sample, Timer& timer) {
  record::Metric metric{
      .name = std::move(name), .unit = std::move(unit), .better = better, .timing = plan.timing, .seed = plan.seed};
  Seconds start = timer.now();
  for (Seconds elapsed; metric.warmup < plan.warmup || elapsed < plan.warmup_time; elapsed = timer.now() - start) {
    if (metric.warmup > 0 && (elapsed >= plan.timeout || metric.warmup >= kMostRepetitions)) break;
    RL_TRY(sample());
    ++metric.warmup;
  }
  start = timer.now();
  StopRule rule(plan, timer, 1);
  while (metric.stop == record::Stop::none) {
    RL_ASSIGN(const double value, sample());
    if (!std::isfinite(value))
      return Error{.kind = ErrorKind::internal,
                   .what = fmt::format("a sample of '{}' is not a number", metric.name),
                   .rule = "measure.not_finite",
                   .found = fmt::format("{}", value)};
    metric.samples.push_back(value);
    metric.stop = rule.after(static_cast<int>(metric.samples.size()), timer.now() - start,
                             [&] { return within_target(plan, metric.samples); });
  }
  summarise(metric);
  return metric;
}

Result<record::Metric> run(const Plan& plan, const Task& task) {
  MonotonicTimer timer;
  return run(plan, task, timer);
}

Result<PairResult> run_pair(const Plan& plan, const Task& a, const Task& b) {
  MonotonicTimer timer;
  return run_pair(plan, a, b, timer);
}

Result<GroupResult> run_group(const Plan& plan, std::span<const Task> tasks) {
  MonotonicTimer timer;
  return run_group(plan, tasks, timer);
}

Result<record::Metric> run_values(const Plan& plan, std::string name, std::string unit, record::Better better,
                                  const std::function<Result<double>()>& sample) {
  MonotonicTimer timer;
  return run_values(plan, std::move(name), std::move(unit), better, sample, timer);
}

std::vector<std::string> warnings_of(const Plan& plan, const record::Metric& metric) {
  std::vector<std::string> warnings;
  const std::vector<double>& samples = metric.samples;
  if (samples.empty()) return warnings;
  if (samples.size() < kLeastSamples)
    warnings.push_back(
        fmt::format("{}: only {} samples: the interval is their whole range", metric.name, samples.size()));
  if (metric.stop != record::Stop::converged && metric.ci95) {
    const double share = half_width(*metric.ci95) / std::abs(metric.value);
    if (!(share <= plan.target))
      warnings.push_back(fmt::format("{}: known to +-{}% only, not the {}% asked for (stopped at {})", metric.name,
                                     format_significant(share * 100, 2), format_significant(plan.target * 100, 2),
                                     record::name_of(metric.stop)));
  }
  if (samples.size() >= 10 && metric.outliers * 10 > static_cast<int>(samples.size()))
    warnings.push_back(fmt::format("{}: {} of {} samples are outliers: something else used the machine", metric.name,
                                   metric.outliers, samples.size()));
  if (samples.size() >= 10) {
    const std::size_t half = samples.size() / 2;
    const double early = median(std::span(samples).first(half)), late = median(std::span(samples).last(half));
    if (std::abs(late / early - 1) > 0.05)
      warnings.push_back(fmt::format("{}: the second half of the samples is {}% {} than the first", metric.name,
                                     format_significant(std::abs(late / early - 1) * 100, 2),
                                     late > early ? "higher" : "lower"));
  }
  return warnings;
}

}  // namespace rl::measure
