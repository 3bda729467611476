// Foreign load and short runs: what is judged, by which numbers, and what is left alone.

#include "lab/disturbance.h"

#include <gmock/gmock.h>

#include "check/result.h"
#include "measure/measure.h"

namespace rl::lab {
namespace {

using telemetry::CpuTime;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(ForeignLoad, IsTheShareOfTheProcessorsThatOthersTookOverAWindow) {
  std::deque<CpuTime> readings = {{.wall = {10}, .busy = {100}, .own = {1}, .cpus = 2},
                                  {.wall = {10.25}, .busy = {100.5}, .own = {1.5}, .cpus = 2},
                                  {.wall = {10.5}, .busy = {101}, .own = {1.5}, .cpus = 2},
                                  {.wall = {12.5}, .busy = {104}, .own = {4.5}, .cpus = 2},
                                  {.wall = {13.5}, .busy = {105}, .own = {4.5}, .cpus = 2}};
  ForeignLoad load([&]() -> std::optional<CpuTime> {
    if (readings.empty()) return std::nullopt;
    const CpuTime next = readings.front();
    readings.pop_front();
    return next;
  });
  EXPECT_FALSE(load.since_last()) << "a quarter of a second is too short";
  EXPECT_EQ(load.since_last(), 0.5) << "half a second: 1 s busy, half of it others'";
  EXPECT_EQ(load.since_last(), 0) << "the two seconds since: all its own";
  EXPECT_EQ(load.since_last(), 0.5);
  EXPECT_FALSE(load.since_last()) << "the source has nothing more to say";
  EXPECT_FALSE(ForeignLoad({}).since_last());
}

class JudgePoint : public testing::Test {
 protected:
  static record::Metric timed(double seconds) {
    record::Metric metric{.name = "time", .unit = "s", .stop = record::Stop::converged, .inner = 2};
    metric.samples.assign(10, seconds);
    measure::summarise(metric);
    return metric;
  }
  // One earlier row, then a point with a row of speed and one of memory.
  record::Experiment judged(std::optional<double> foreign, double seconds = 1) {
    record::Experiment record;
    record.rows = {{.metrics = {timed(1)}},
                   {.metrics = {timed(seconds)}},
                   {.metrics = {{.name = "weights", .unit = "B", .value = 5, .statistic = "count"}}}};
    record.comparisons.resize(2);
    judge_point(info_, context_, {.rows = 1, .comparisons = 1}, foreign, record);
    EXPECT_TRUE(record.rows[0].validity.valid) << "of another point";
    EXPECT_TRUE(record.rows[2].validity.valid) << "memory is not speed";
    EXPECT_THAT(record.rows[2].validity.warnings, IsEmpty());
    return record;
  }

  Info info_;
  ops::Backend backend_;
  ops::Oracle oracle_;
  CountingResource memory_{host_memory()};
  model::ModelSource model_;
  Context context_{.backend = backend_, .oracle = oracle_, .memory = memory_, .model = model_};
};

TEST_F(JudgePoint, ForeignLoadWarnsThenMakesSpeedInvalidAndDropsItsComparisons) {
  for (const std::optional<double> quiet : {std::optional<double>(), std::optional(0.05)}) {
    const record::Experiment record = judged(quiet);
    EXPECT_TRUE(record.rows[1].validity.valid);
    EXPECT_THAT(record.rows[1].validity.warnings, IsEmpty());
    EXPECT_EQ(record.comparisons.size(), 2u);
  }
  const record::Experiment some = judged(0.25);
  EXPECT_TRUE(some.rows[1].validity.valid);
  EXPECT_THAT(some.rows[1].validity.warnings, ElementsAre(HasSubstr("other processes took 25%")));
  EXPECT_EQ(some.comparisons.size(), 2u);
  const record::Experiment much = judged(0.3);
  EXPECT_FALSE(much.rows[1].validity.valid);
  EXPECT_THAT(much.rows[1].validity.reasons, ElementsAre(HasSubstr("lab.foreign_load")));
  EXPECT_EQ(much.comparisons.size(), 1u);
  context_.limits.max_foreign_load = 1;
  EXPECT_TRUE(judged(1).rows[1].validity.valid);
}

TEST_F(JudgePoint, QualityBesideATimeStaysValid) {
  info_.speed_rows = false;
  const record::Experiment record = judged(0.9, 1e-6);
  EXPECT_TRUE(record.rows[1].validity.valid);
  EXPECT_EQ(record.rows[1].validity.warnings.size(), 2u);
  EXPECT_EQ(record.comparisons.size(), 1u);
}

TEST_F(JudgePoint, AMeasurementBelowHalfAMillisecondIsShort) {
  EXPECT_TRUE(judged({}, 26e-6).rows[1].validity.valid) << "10 samples of 2 repetitions";
  const record::Experiment record = judged({}, 24e-6);
  EXPECT_FALSE(record.rows[1].validity.valid);
  EXPECT_THAT(record.rows[1].validity.reasons, ElementsAre(HasSubstr("lab.short_run")));
  EXPECT_EQ(record.comparisons.size(), 1u);
}

}  // namespace
}  // namespace rl::lab
