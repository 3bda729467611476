#include "measure/measure.h"

#include <gmock/gmock.h>

#include "check/result.h"
#include "measure/simulate.h"

namespace rl::measure {
namespace {

using record::Stop;
using simulated::Clock;
using testing::HasSubstr;

// Sums of it are exact.
constexpr double kTick = 1.0 / 64;

// Takes the given times one after another, then the last one for ever.
Task scripted(Clock& clock, std::vector<double> seconds, int& runs) {
  return {.name = "scripted", .run = [&clock, &runs, seconds = std::move(seconds)]() -> Status {
            clock.advance(seconds[std::min<std::size_t>(static_cast<std::size_t>(runs), seconds.size() - 1)]);
            ++runs;
            return ok();
          }};
}

TEST(Run, WarmsUpThenSamplesUntilTheIntervalIsNarrow) {
  Clock clock;
  int runs = 0;
  // Slow at first: what a warm-up is for.
  const Task task = scripted(clock, {0.5, 0.25, 0.125, kTick}, runs);
  ASSERT_VALUE(const record::Metric metric, run({.warmup = 3}, task, clock));
  EXPECT_EQ(metric.name, "time");
  EXPECT_EQ(metric.unit, "s");
  EXPECT_EQ(metric.better, record::Better::lower);
  EXPECT_EQ(metric.timing, record::Timing::hot);
  EXPECT_EQ(metric.warmup, 3);
  EXPECT_EQ(metric.stop, Stop::converged);
  EXPECT_EQ(metric.samples.size(), 10u);  // min_samples, and min_time with them
  EXPECT_EQ(runs, 13);
  EXPECT_EQ(metric.value, kTick);
  ASSERT_TRUE(metric.ci95);
  EXPECT_EQ(metric.ci95->high, kTick);
  EXPECT_EQ(metric.inner, 1);
}

TEST(Run, WarmsUpForTheGivenTimeAlso) {
  Clock clock;
  int runs = 0;
  ASSERT_VALUE(const record::Metric metric,
               run({.warmup = 1, .warmup_time = Seconds{0.0995}}, scripted(clock, {0.01}, runs), clock));
  EXPECT_EQ(metric.warmup, 10);
}

TEST(Run, SamplesForTheMinimumTime) {
  Clock clock;
  int runs = 0;
  ASSERT_VALUE(const record::Metric metric, run({.min_time = Seconds{0.5}}, scripted(clock, {0.001}, runs), clock));
  EXPECT_EQ(metric.stop, Stop::converged);
  EXPECT_GE(metric.samples.size(), 500u);
  EXPECT_LE(metric.samples.size(), 750u);  // looks come at 1.5 times the samples of the look before
}

TEST(Run, NoiseTakesMoreSamplesAndMeetsTheTarget) {
  Clock clock;
  simulated::Machine machine = simulated::white(3, 0.05);
  const Task task = simulated::task(clock, machine, 0, 0.02);
  ASSERT_VALUE(const record::Metric metric, run({.timeout = Seconds{60}}, task, clock));
  EXPECT_EQ(metric.stop, Stop::converged);
  EXPECT_GT(metric.samples.size(), 100u);  // (1.96 * 1.2533 * 5 / 1)^2 = 151 for a normal distribution
  EXPECT_LE((metric.ci95->high - metric.ci95->low) / 2, 0.0101 * metric.value);
  EXPECT_NEAR(metric.value, 0.02, 0.0004);
  EXPECT_NEAR(*metric.noise, 0.05, 0.01);
}

TEST(Run, EndsAtTheTimeoutAndSaysSo) {
  Clock clock;
  simulated::Machine machine = simulated::white(3, 0.3);
  const Plan plan{.timeout = Seconds{2}};
  ASSERT_VALUE(const record::Metric metric, run(plan, simulated::task(clock, machine, 0, 0.02), clock));
  EXPECT_EQ(metric.stop, Stop::timeout);
  EXPECT_NEAR(static_cast<double>(metric.samples.size()), 100, 15);
  EXPECT_THAT(warnings_of(plan, metric), testing::Contains(HasSubstr("stopped at timeout")));
}

TEST(Run, EndsAtTheMostSamplesAndSaysSo) {
  Clock clock;
  simulated::Machine machine = simulated::white(3, 0.3);
  ASSERT_VALUE(const record::Metric metric, run({.max_samples = 50}, simulated::task(clock, machine, 0, 0.02), clock));
  EXPECT_EQ(metric.stop, Stop::max_samples);
  EXPECT_EQ(metric.samples.size(), 50u);
}

TEST(Run, ATaskLongerThanTheTimeoutIsWarmedUpAndSampledOnce) {
  Clock clock;
  int runs = 0;
  const Plan plan{.timeout = Seconds{5}};
  ASSERT_VALUE(const record::Metric metric, run(plan, scripted(clock, {60}, runs), clock));
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(metric.stop, Stop::timeout);
  EXPECT_EQ(metric.samples.size(), 1u);
  EXPECT_FALSE(metric.ci95) << "one sample has no interval";
  EXPECT_THAT(warnings_of(plan, metric), testing::Contains(HasSubstr("only 1 sample")));
}

TEST(Run, RepeatsShortTasksWithinASampleAndCountsPerRepetition) {
  Clock clock;
  int runs = 0;
  ASSERT_VALUE(const record::Metric metric, run({}, scripted(clock, {kTick / 8192}, runs), clock));
  EXPECT_EQ(metric.inner, 53);  // of 1.9 us each: 100 us
  EXPECT_EQ(metric.value, kTick / 8192);
  EXPECT_EQ(runs, metric.warmup + 53 * static_cast<int>(metric.samples.size()));
  EXPECT_GE(static_cast<double>(metric.samples.size()) * 53 * kTick / 8192, 0.1)
      << "min_time speaks of the whole sample";
}

TEST(Run, DoesNotRepeatATaskThatIsPreparedNorCountItsPreparation) {
  Clock clock;
  int runs = 0, prepared = 0;
  Task task = scripted(clock, {5e-6}, runs);
  task.prepare = [&] {
    ++prepared;
    clock.advance(1e-3);
    return ok();
  };
  const Plan plan{.timing = record::Timing::cold, .max_samples = 30};
  ASSERT_VALUE(const record::Metric metric, run(plan, task, clock));
  EXPECT_EQ(metric.inner, 1);
  EXPECT_EQ(prepared, runs);
  EXPECT_NEAR(metric.value, 5e-6, 1e-9);
  EXPECT_EQ(metric.timing, record::Timing::cold);
}

TEST(Run, PreparationCountsTowardsTheTimeout) {
  Clock clock;
  int runs = 0;
  Task task = scripted(clock, {1e-3}, runs);
  task.prepare = [&] {
    clock.advance(1);
    return ok();
  };
  ASSERT_VALUE(const record::Metric metric, run({.timeout = Seconds{8}}, task, clock));
  EXPECT_EQ(metric.stop, Stop::timeout);
  EXPECT_EQ(metric.samples.size(), 8u);
}

TEST(Run, TheTimeoutWaitsForTheLeastSamplesButNotForever) {
  for (const auto& [task_seconds, samples] :
       {std::pair{1.0, kLeastSamples}, {3.0, kLeastSamples}, {4.0, 4UL}, {8.0, 2UL}}) {
    Clock clock;
    int runs = 0;
    ASSERT_VALUE(const record::Metric metric,
                 run({.timeout = Seconds{4}}, scripted(clock, {task_seconds}, runs), clock));
    EXPECT_EQ(metric.stop, Stop::timeout);
    EXPECT_EQ(metric.samples.size(), samples) << task_seconds;
  }
}

TEST(Run, TheTimeoutWaitsForNothingWhereNoIntervalIsWanted) {
  Clock clock;
  int runs = 0;
  ASSERT_VALUE(const record::Metric metric,
               run({.timeout = Seconds{4}, .least_samples = 1}, scripted(clock, {3.0}, runs), clock));
  EXPECT_EQ(metric.stop, Stop::timeout);
  EXPECT_EQ(metric.samples.size(), 2u);
}

TEST(Run, PassesTheTasksErrorOnWhereverItComes) {
  for (const int failing : {0, 2, 7}) {  // in the warm-up, at the first sample, later
    Clock clock;
    int runs = 0;
    const Task task{.name = "faulty", .run = [&]() -> Status {
                      clock.advance(0.01);
                      if (runs++ == failing) return Error{.kind = ErrorKind::device, .what = "the card fell off"};
                      return ok();
                    }};
    const auto result = run({}, task, clock);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().what, "the card fell off");
    EXPECT_EQ(runs, failing + 1) << "nothing runs after an error";
  }
  Clock clock;
  const Task unprepared{.name = "faulty",
                        .run = [] { return ok(); },
                        .prepare = []() -> Status { return Error{.kind = ErrorKind::io, .what = "no input"}; }};
  EXPECT_EQ(run({}, unprepared, clock).error().what, "no input");
}

TEST(Run, RefusesAClockThatStandsStill) {
  Clock clock;
  const Task task{.name = "instant", .run = [] { return ok(); }};
  const auto result = run({}, task, clock);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().rule, "measure.zero_time");
  EXPECT_THAT(result.error().what, HasSubstr("'instant'"));
}

TEST(Run, KeepsAndCountsSlowOutliers) {
  Clock clock;
  simulated::Machine machine = simulated::white(9);
  int runs = 0;
  const Task task{.name = "hiccups", .run = [&] {
                    clock.advance(0.01 * machine(0) * (++runs % 6 == 0 ? 10 : 1));
                    return ok();
                  }};
  const Plan plan{.min_samples = 60, .timeout = Seconds{60}};
  ASSERT_VALUE(const record::Metric metric, run(plan, task, clock));
  EXPECT_EQ(metric.outliers, static_cast<int>(std::count_if(metric.samples.begin(), metric.samples.end(),
                                                            [](double s) { return s > 0.05; })));
  EXPECT_EQ(metric.outliers, 10);
  EXPECT_EQ(metric.samples.size(), 60u);
  EXPECT_EQ(metric.discarded, 0);
  EXPECT_NEAR(metric.value, 0.01, 0.0002) << "the median does not see them";
  EXPECT_THAT(warnings_of(plan, metric), testing::Contains(HasSubstr("10 of 60 samples are outliers")));
}

TEST(Run, WarnsOfATrend) {
  Clock clock;
  simulated::Machine machine = simulated::drifting(1, 0.01);
  const Plan plan{.timeout = Seconds{1}};
  ASSERT_VALUE(const record::Metric metric, run(plan, simulated::task(clock, machine, 0, 0.02), clock));
  EXPECT_THAT(warnings_of(plan, metric), testing::Contains(HasSubstr("higher than the first")));
  EXPECT_TRUE(warnings_of(plan, {.name = "counted", .value = 3, .statistic = "count"}).empty());
}

TEST(Run, WorksOnTheRealClock) {
  const Plan plan{.warmup_time = Seconds{0.001}, .min_time = Seconds{0.005}, .timeout = Seconds{0.2}};
  volatile int sink = 0;
  const Task task{.name = "tiny", .run = [&] {
                    sink = sink + 1;
                    return ok();
                  }};
  ASSERT_VALUE(const record::Metric metric, run(plan, task));
  EXPECT_GT(metric.inner, 1) << "a call this short is repeated within a sample";
  EXPECT_GT(metric.value, 0);
}

TEST(RunPair, InterleavesABBA) {
  Clock clock;
  std::string order;
  auto task = [&](const char* name) {
    return Task{.name = name, .run = [&, name] {
                  order += name;
                  clock.advance(0.05);
                  return ok();
                }};
  };
  ASSERT_VALUE(const PairResult result,
               run_pair({.warmup = 1, .warmup_time = Seconds{0}}, task("A"), task("B"), clock));
  EXPECT_EQ(order,
            "AB"
            "ABBA"
            "ABBA"
            "ABBA"
            "ABBA"
            "ABBA");
  EXPECT_EQ(result.a.samples.size(), 10u);
  EXPECT_EQ(result.a.stop, Stop::converged);
  EXPECT_EQ(result.b.stop, Stop::converged);
  EXPECT_EQ(result.comparison.verdict, record::Verdict::same);
  EXPECT_EQ(result.comparison.baseline, "A");
  EXPECT_EQ(result.comparison.candidate, "B");
  EXPECT_EQ(result.comparison.metric, "time");
}

TEST(RunPair, TheTimeoutEndsItAfterAWholeUnit) {
  Clock clock;
  int runs_a = 0, runs_b = 0;
  ASSERT_VALUE(const PairResult result,
               run_pair({.timeout = Seconds{5}}, scripted(clock, {20}, runs_a), scripted(clock, {10}, runs_b), clock));
  EXPECT_EQ(result.a.stop, Stop::timeout);
  EXPECT_EQ(result.a.samples.size(), 2u);
  EXPECT_EQ(result.b.samples.size(), 2u);
  EXPECT_NEAR(result.comparison.ratio, 2, 1e-9);
  EXPECT_EQ(result.comparison.verdict, record::Verdict::inconclusive) << "one unit proves nothing";
}

TEST(RunPair, GoesOnUntilTheVerdictIsDecided) {
  // 3% of difference, 4% of noise: the first looks cannot tell.
  Clock clock;
  simulated::Machine machine = simulated::white(2, 0.04);
  const Task a = simulated::task(clock, machine, 0, 0.0103), b = simulated::task(clock, machine, 1, 0.01);
  ASSERT_VALUE(const PairResult result, run_pair({.timeout = Seconds{100}}, a, b, clock));
  EXPECT_EQ(result.a.stop, Stop::converged);
  EXPECT_EQ(result.comparison.verdict, record::Verdict::better);
  EXPECT_GT(result.a.samples.size(), 30u);
  EXPECT_LE((result.comparison.ci95.high - result.comparison.ci95.low) / 2, 0.011);
}

TEST(RunPair, PassesErrorsOnFromEitherTask) {
  Clock clock;
  int runs = 0;
  const Task good = scripted(clock, {0.01}, runs);
  const Task bad{.name = "bad", .run = []() -> Status { return Error{.kind = ErrorKind::device, .what = "lost"}; }};
  EXPECT_EQ(run_pair({}, good, bad, clock).error().what, "lost");
  EXPECT_EQ(run_pair({}, bad, good, clock).error().what, "lost");
}

TEST(RunGroup, TakesTheTasksForwardsAndBackwardsAndComparesAnyTwo) {
  Clock clock;
  std::string order;
  auto task = [&](const char* name, double seconds) {
    return Task{.name = name, .run = [&, name, seconds] {
                  order += name;
                  clock.advance(seconds * (1 + 0.001 * static_cast<double>(order.size())));  // a linear drift
                  return ok();
                }};
  };
  const Task tasks[] = {task("A", 0.4), task("B", 0.2), task("C", 0.1)};
  ASSERT_VALUE(const GroupResult result, run_group({.warmup = 1, .warmup_time = Seconds{0}}, tasks, clock));
  EXPECT_TRUE(
      order.starts_with("ABC"
                        "ABCCBA"
                        "ABCCBA"))
      << order;
  ASSERT_EQ(result.times.size(), 3u);
  ASSERT_EQ(result.comparisons.size(), 2u);
  EXPECT_EQ(result.times[0].samples.size(), result.times[2].samples.size());
  EXPECT_EQ(result.times[1].stop, Stop::converged);
  EXPECT_NEAR(result.comparisons[0].ratio, 2, 1e-3) << "the drift cancels";
  EXPECT_NEAR(result.comparisons[1].ratio, 4, 1e-3);
  EXPECT_EQ(result.comparisons[1].baseline, "A");
  EXPECT_EQ(result.comparisons[1].candidate, "C");
  const record::Comparison other = result.compare(2, 1);
  EXPECT_NEAR(other.ratio, 0.5, 1e-3);
  EXPECT_EQ(other.verdict, record::Verdict::worse);
  EXPECT_EQ(other.baseline, "C");
}

TEST(RunValues, SamplesTheQuantityItself) {
  Clock clock;
  simulated::Machine machine = simulated::white(5);
  int calls = 0;
  auto sample = [&]() -> Result<double> {
    ++calls;
    clock.advance(0.02);
    return 500 * machine(0);
  };
  ASSERT_VALUE(const record::Metric metric,
               run_values({}, "decode_throughput", "tok/s", record::Better::higher, sample, clock));
  EXPECT_EQ(metric.name, "decode_throughput");
  EXPECT_EQ(metric.unit, "tok/s");
  EXPECT_EQ(metric.better, record::Better::higher);
  EXPECT_EQ(metric.stop, Stop::converged);
  EXPECT_NEAR(metric.value, 500, 5);
  EXPECT_EQ(calls, metric.warmup + static_cast<int>(metric.samples.size()));
}

TEST(RunValues, RefusesWhatIsNotANumberAndPassesErrorsOn) {
  Clock clock;
  auto nan = [&]() -> Result<double> { return clock.advance(0.1), std::numeric_limits<double>::quiet_NaN(); };
  EXPECT_EQ(run_values({}, "x", "1", record::Better::higher, nan, clock).error().rule, "measure.not_finite");
  auto error = []() -> Result<double> { return Error{.kind = ErrorKind::timeout, .what = "no answer"}; };
  EXPECT_EQ(run_values({}, "x", "1", record::Better::higher, error, clock).error().what, "no answer");
}

TEST(RateOf, TurnsEverySampleOverAndIsTheRateOfTheMedianTime) {
  const record::Metric time{.name = "time",
                            .unit = "s",
                            .better = record::Better::lower,
                            .timing = record::Timing::hot,
                            .stop = Stop::converged,
                            .warmup = 4,
                            .inner = 3,
                            .samples = {1, 2, 3, 4}};
  const record::Metric rate = rate_of(time, "read_bandwidth", "B/s", 60);
  EXPECT_EQ(rate.name, "read_bandwidth");
  EXPECT_EQ(rate.unit, "B/s");
  EXPECT_EQ(rate.better, record::Better::higher);
  EXPECT_DOUBLE_EQ(rate.value, 24) << "the median time is 2.5, between two samples";
  EXPECT_DOUBLE_EQ(rate.ci95->low, 15);
  EXPECT_DOUBLE_EQ(rate.ci95->high, 60);
  EXPECT_THAT(rate.samples, testing::ElementsAre(60, 30, 20, 15));
  EXPECT_EQ(rate.stop, Stop::converged);
  EXPECT_EQ(rate.inner, 3);
  const record::Metric half = scaled(rate, "share", "1", 0.5);
  EXPECT_DOUBLE_EQ(half.value, 12);
  EXPECT_DOUBLE_EQ(half.ci95->high, 30);
  EXPECT_THAT(half.samples, testing::ElementsAre(30, 15, 10, 7.5));
}

TEST(RateOf, HasNoUpperBoundWhereTheTimeMayBeNone) {
  // Two times in ten are ten times as long as the others: the interval of the median reaches below zero.
  record::Metric time{.name = "time", .samples = {1, 1, 1, 10, 1, 1, 10, 10, 10, 10}};
  ASSERT_TRUE(summarise(time));
  ASSERT_LT(time.ci95->low, 0);
  EXPECT_EQ(rate_of(time, "r", "B/s", 100).ci95->high, std::numeric_limits<double>::infinity());
}

TEST(Summarise, IsAFunctionOfSamplesStatisticAndSeed) {
  record::Metric metric{.name = "time", .seed = 5};
  for (int i = 0; i < 40; ++i) metric.samples.push_back(1 + 0.01 * ((i * 37) % 40));
  ASSERT_TRUE(summarise(metric));
  EXPECT_EQ(metric.value, median(metric.samples));
  EXPECT_EQ(metric.ci95->low, median_ci95(metric.samples, 5).low);
  EXPECT_EQ(metric.noise, relative_noise(metric.samples));
  record::Metric again = metric;
  again.value = 0;
  again.ci95.reset();
  ASSERT_TRUE(summarise(again));
  EXPECT_EQ(again.value, metric.value);
  EXPECT_EQ(again.ci95->high, metric.ci95->high);
  metric.statistic = "of another program";
  EXPECT_FALSE(summarise(metric));
  record::Metric counted{.name = "bytes", .value = 7, .statistic = "count"};
  EXPECT_TRUE(summarise(counted));
  EXPECT_EQ(counted.value, 7);
}

}  // namespace
}  // namespace rl::measure
