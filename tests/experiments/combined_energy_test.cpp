// Energy in the experiment combined, over a folder that looks like the kernel's: a counter that goes on by itself,
// faster the higher the limit.

#include <fstream>
#include <thread>

#include "experiments/combined.h"
#include "experiments/combined_conclude.h"
#include "experiments/fake_powercap.h"
#include "experiments/fixture.h"
#include "experiments/named_gpu.h"
#include "model/synthetic.h"

namespace rl::experiments {
namespace {

namespace fs = std::filesystem;
using record::Outcome;
using testing::Contains;
using testing::HasSubstr;

EnergyParts parts;  // what the entry under test is made of: an entry's maker is a plain function

class CombinedEnergy : public ExperimentsTest {
 protected:
  CombinedEnergy() {
    parts = {.powercap = powercap_.root(), .sleep = [](Seconds) { sleep_for({0.01}); }};
    // Random weights: no format's quality is judged, which is most of the time.
    model::ModelConfig small = model_.config;
    small.layers = 2;
    auto made = model::synthetic_model("two layers", small);
    RL_CHECK(made.has_value());
    model_ = std::move(*made);
  }
  ~CombinedEnergy() override {
    counter_ = {};
    parts = {};
  }
  void with_counter(bool moving = true) {
    powercap_.add_counter("1000000", "1000000000000");
    if (!moving) return;
    counter_ = std::jthread([this](const std::stop_token& stop) {
      for (std::int64_t energy = 1'000'000; !stop.stop_requested(); sleep_for({0.0002})) {
        const std::string limit = powercap_.read("constraint_0_power_limit_uw");
        const auto watts = limit.empty() ? 100 : std::stoll(limit) / 1'000'000;
        powercap_.write("energy_uj", std::to_string(energy += 100 * watts));
      }
    });
  }
  void with_limit() { powercap_.add_limit("1000"); }
  Result<record::Experiment> run_rungs(std::vector<std::string> rungs) {
    lab::Context context{.backend = backend_,
                         .oracle = oracle_,
                         .memory = memory_,
                         .model = model_,
                         .effort = 0.1,
                         .axes = {{"rung", std::move(rungs)}}};
    const lab::Entry entry{.info = find("combined")->info, .make = [] { return make_combined(parts); }};
    return lab::run_experiment(entry, context);
  }
  static const record::Row& row_of(const record::Experiment& record, const std::string& rung) {
    static const record::Row none;
    for (const record::Row& row : record.rows)
      if (const std::string* id = lab::find_axis(row, "rung"); id != nullptr && *id == rung) return row;
    ADD_FAILURE() << "no rung " << rung;
    return none;
  }
  static const record::Hypothesis& power_of(const record::Experiment& record) {
    return *std::ranges::find(record.hypotheses, "combined.power", &record::Hypothesis::id);
  }
  static void expect_energy(const record::Row& row) {
    for (const char* name : {"energy_per_token", "tokens_per_joule", "power"}) {
      const record::Metric* const metric = lab::find_metric(row, name);
      ASSERT_TRUE(metric) << name;
      EXPECT_GT(metric->value, 0) << name;
      EXPECT_FALSE(metric->samples.empty()) << name;
    }
  }

  FakePowercap powercap_;
  std::jthread counter_;
};

TEST_F(CombinedEnergy, EveryRungHasItAndTheLimitIsTriedAndComesBack) {
  with_counter();
  with_limit();
  ASSERT_VALUE(const record::Experiment record, run_rungs({"baseline", "flash", "power", "without-flash"}));
  EXPECT_EQ(record.state, record::State::done);
  for (const char* rung : {"baseline", "flash", "power", "without-flash"}) {
    SCOPED_TRACE(rung);
    expect_energy(row_of(record, rung));
  }
  const record::Row& power = row_of(record, "power");
  EXPECT_THAT(power.note, HasSubstr("of the present power limit"));
  EXPECT_TRUE(lab::find_metric(power, "throughput"));
  EXPECT_TRUE(lab::find_metric(power, "efficiency_over_present_limit"));
  EXPECT_NE(power_of(record).outcome, Outcome::skipped);
  EXPECT_THAT(record.meaning, HasSubstr(" J in the baseline"));
  EXPECT_EQ(powercap_.read("constraint_0_power_limit_uw"), "100000000");
  EXPECT_EQ(memory_.live().count, 0);
  expect_recomputable(record);

  // What is concluded of a gain whose interval is known, and of one that had too few samples for it.
  const auto concluded = [&](double value, std::optional<record::Interval> ci95) {
    record::Experiment again = record;
    for (record::Row& row : again.rows)
      for (record::Metric& metric : row.metrics)
        if (metric.name == "efficiency_over_present_limit") metric.value = value, metric.ci95 = ci95;
    conclude_ladder(again, {});
    return power_of(again);
  };
  const record::Hypothesis sure = concluded(1.25, record::Interval{1.22, 1.28});
  EXPECT_EQ(sure.outcome, Outcome::holds);
  EXPECT_EQ(sure.measured_value, 1.25);
  const record::Hypothesis unsure = concluded(1.25, std::nullopt);
  EXPECT_EQ(unsure.outcome, Outcome::inconclusive);
  EXPECT_THAT(unsure.reason, HasSubstr("too few samples"));
}

TEST_F(CombinedEnergy, WithoutACounterNoRowHasAFigureAndTheReasonIsThere) {
  ASSERT_VALUE(const record::Experiment record, run_rungs({"baseline", "power", "without-power"}));
  EXPECT_EQ(record.state, record::State::done);
  for (const record::Row& row : record.rows)
    for (const char* name : {"energy_per_token", "tokens_per_joule", "power"})
      EXPECT_FALSE(lab::find_metric(row, name)) << name;
  EXPECT_THAT(record.notes, Contains(testing::AllOf(HasSubstr("No rung has energy_per_token"), HasSubstr("To do:"))));
  EXPECT_THAT(row_of(record, "power").note, HasSubstr("energy cannot be measured here"));
  EXPECT_EQ(power_of(record).outcome, Outcome::skipped);
  EXPECT_THAT(power_of(record).reason, HasSubstr("energy cannot be measured here"));
  EXPECT_FALSE(power_of(record).measured_value);
}

TEST_F(CombinedEnergy, OnAGpuTheProcessorsCountersAreNotTaken) {
  with_counter();
  NamedGpu gpu(*device_);
  backend_.device = &gpu;
  ASSERT_VALUE(const record::Experiment record, run_rungs({"baseline"}));
  EXPECT_EQ(record.state, record::State::failed) << "nothing can be computed on it";
  EXPECT_THAT(record.notes, Contains(testing::AllOf(HasSubstr("No rung has energy_per_token"), HasSubstr("RAPL"),
                                                    HasSubstr("do not hold what a GPU uses"))));
}

TEST_F(CombinedEnergy, WithoutALimitEnergyIsThereAndThePowerRungSaysWhyNot) {
  with_counter();
  ASSERT_VALUE(const record::Experiment record, run_rungs({"baseline", "power"}));
  expect_energy(row_of(record, "baseline"));
  EXPECT_FALSE(lab::find_metric(row_of(record, "power"), "energy_per_token"));
  EXPECT_THAT(row_of(record, "power").note, HasSubstr("no other power limit can be tried"));
  EXPECT_THAT(power_of(record).reason, HasSubstr("no other power limit can be tried"));
}

TEST_F(CombinedEnergy, ACounterThatStandsStillLeavesTheTimesValid) {
  with_counter(false);
  ASSERT_VALUE(const record::Experiment record, run_rungs({"baseline"}));
  const record::Row& row = row_of(record, "baseline");
  EXPECT_TRUE(row.validity.valid);
  EXPECT_TRUE(lab::find_metric(row, "request_time"));
  EXPECT_FALSE(lab::find_metric(row, "energy_per_token"));
  EXPECT_THAT(row.validity.warnings, Contains(HasSubstr("stood still")));
}

}  // namespace
}  // namespace rl::experiments
