// The power experiment over a folder that looks like the kernel's and a processor made of arithmetic: under a limit of
// W watts it works at the rate that W allows, and its counter and clock go on as that says.

#include "experiments/power.h"

#include <fstream>
#include <thread>

#include "check/result.h"
#include "cpu/fast/cpu_device.h"
#include "experiments/fake_powercap.h"
#include "experiments/list.h"
#include "experiments/named_gpu.h"
#include "lab/conclude.h"
#include "lab/runner.h"

namespace rl::experiments {
namespace {

namespace fs = std::filesystem;
using record::Outcome;
using testing::Contains;
using testing::HasSubstr;

PowerParts parts;  // what the entry under test is made of: an entry's maker is a plain function

class Power : public testing::Test {
 protected:
  Power() {
    powercap_.add_counter("990000000", "1000000000");  // wraps several times in a test
    parts = {.powercap = powercap_.root(),
             .now = [this] { return now_; },
             .sleep = [this](Seconds time) { pass(time.count, 20); },
             .load = [this](lab::Context&, const std::string& phase) -> Result<PowerLoad> {
               return PowerLoad{.task = {.name = phase, .run = [this, phase] { return work(phase); }, .prepare = {}},
                                .tokens = 100};
             }};
  }
  ~Power() override { parts = {}; }
  void with_limit() { powercap_.add_limit("1000000"); }
  void pass(double seconds, double watts) {
    now_ += Seconds{seconds};
    energy_ = std::fmod(energy_ + seconds * watts, 1000.0);
    powercap_.write("energy_uj", std::to_string(std::llround(energy_ * 1e6)));
  }
  // 100 tokens. Decode waits for memory: its speed does not change with the limit. Prefill's goes with its root.
  Status work(const std::string& phase) {
    if (++runs_ == fail_at_) return Error{.kind = ErrorKind::device, .what = "the load failed"};
    const std::string limit = powercap_.read("constraint_0_power_limit_uw");
    const double watts = limit.empty() ? 100 : std::stod(limit) * 1e-6;
    pass(phase == "decode" ? 0.1 : 0.1 * std::sqrt(100 / watts), watts);
    return ok();
  }
  Result<record::Experiment> run(lab::AxisOverrides axes = {}) {
    lab::Context context{.backend = backend_,
                         .oracle = oracle_,
                         .memory = memory_,
                         .model = model_,
                         .effort = 0.1,
                         .axes = std::move(axes)};
    const lab::Entry entry{.info = find("power")->info, .make = [] { return make_power(parts); }};
    return lab::run_experiment(entry, context);
  }
  static double value(const record::Row& row, const char* metric) { return lab::find_metric(row, metric)->value; }

  FakePowercap powercap_;
  Seconds now_;
  double energy_ = 990;  // J
  int runs_ = 0, fail_at_ = -1;
  std::unique_ptr<Device> device_ = cpu::make_device({.threads = 1, .isa_limit = {}});
  ops::Backend backend_{.name = "cpu", .device = device_.get(), .catalog = {}, .probes = {}};
  ops::Oracle oracle_;
  CountingResource memory_{device_->memory()};
  model::ModelSource model_;
};

TEST_F(Power, EnergyPerTokenFollowsTheLimitAndTheOriginalComesBack) {
  with_limit();
  ASSERT_VALUE(const record::Experiment record, run());
  EXPECT_EQ(record.state, record::State::done);
  ASSERT_EQ(record.rows.size(), 6u);
  for (const record::Row& row : record.rows) {
    EXPECT_TRUE(row.validity.valid);
    const double watts = std::stod(*lab::find_axis(row, "limit"));
    const bool decode = *lab::find_axis(row, "phase") == "decode";
    EXPECT_NEAR(value(row, "power"), watts, 1e-3);
    EXPECT_NEAR(value(row, "power_limit"), watts, 1e-9);
    EXPECT_NEAR(value(row, "energy_per_token"), decode ? watts * 1e-3 : std::sqrt(100 * watts) * 1e-3, 1e-6);
    EXPECT_NEAR(value(row, "throughput"), decode ? 1000 : 1000 * std::sqrt(watts / 100), 1e-6);
    EXPECT_NEAR(value(row, "tokens_per_joule") * value(row, "energy_per_token"), 1, 1e-9);
    EXPECT_EQ(lab::find_metric(row, "power")->samples.size(),
              lab::find_metric(row, "energy_per_token")->samples.size());
  }
  // At 60 W: 1 / 0.6 in decode, 1 / sqrt(0.6) in prefill.
  ASSERT_TRUE(record.hypotheses[0].measured_value);
  EXPECT_NEAR(*record.hypotheses[0].measured_value, std::pow(0.6, -0.75), 1e-4);
  EXPECT_EQ(record.hypotheses[0].outcome, Outcome::exceeds);
  EXPECT_THAT(record.meaning, HasSubstr("decode at 60% of the limit"));
  EXPECT_THAT(record.notes, Contains(HasSubstr("idle before the first load: 20.0 W")));
  EXPECT_EQ(powercap_.read("constraint_0_power_limit_uw"), "100000000");
}

TEST_F(Power, WithoutALimitOnlyThePresentOneIsMeasuredAndTheVerdictIsOpen) {
  ASSERT_VALUE(const record::Experiment record, run());
  EXPECT_EQ(record.state, record::State::done);
  ASSERT_EQ(record.rows.size(), 2u);
  EXPECT_NEAR(value(record.rows[0], "power"), 100, 1e-3);
  EXPECT_EQ(record.outcome, Outcome::inconclusive);
  EXPECT_THAT(record.hypotheses[0].reason, HasSubstr("the notes say why"));
  EXPECT_THAT(record.notes, Contains(HasSubstr("offers no power limit")));
}

TEST_F(Power, AnErrorInALoadMakesItsRowInvalidAndTheLimitComesBack) {
  with_limit();
  fail_at_ = 20;
  ASSERT_VALUE(const record::Experiment record, run({{"limit", {"100", "50"}}, {"phase", {"decode"}}}));
  ASSERT_EQ(record.rows.size(), 2u);
  EXPECT_TRUE(record.rows[0].validity.valid != record.rows[1].validity.valid);
  EXPECT_EQ(record.outcome, Outcome::inconclusive);
  EXPECT_EQ(powercap_.read("constraint_0_power_limit_uw"), "100000000");
}

TEST_F(Power, AFailureAtTheStartRestoresToo) {
  with_limit();
  parts.now = [this]() {
    fs::remove(powercap_.zone() / "energy_uj");
    return now_;
  };
  ASSERT_VALUE(const record::Experiment record, run());
  EXPECT_EQ(record.state, record::State::failed);
  EXPECT_EQ(powercap_.read("constraint_0_power_limit_uw"), "100000000");
}

TEST_F(Power, ALimitThatSomebodyElseChangesMakesTheExperimentFail) {
  with_limit();
  const auto load = parts.load;
  parts.load = [this, load](lab::Context& context, const std::string& phase) {
    powercap_.write("constraint_0_power_limit_uw", "77000000");
    return load(context, phase);
  };
  ASSERT_VALUE(const record::Experiment record, run({{"limit", {"100"}}, {"phase", {"decode"}}}));
  EXPECT_EQ(record.state, record::State::failed);
  EXPECT_THAT(record.reasons, Contains(HasSubstr("somebody else changed")));
  EXPECT_EQ(powercap_.read("constraint_0_power_limit_uw"), "77000000");
}

TEST_F(Power, ACounterThatStandsStillIsNoResult) {
  parts.load = [](lab::Context&, const std::string&) -> Result<PowerLoad> {
    return PowerLoad{.task = {.name = "x", .run = [] { return ok(); }, .prepare = {}}, .tokens = 1};
  };
  parts.now = [this]() { return now_ += Seconds{1}; };
  ASSERT_VALUE(const record::Experiment record, run());
  for (const record::Row& row : record.rows) {
    EXPECT_FALSE(row.validity.valid);
    EXPECT_THAT(row.validity.reasons[0], HasSubstr("stood still"));
  }
}

// A counter that runs by itself beside the engine's own loads.
TEST_F(Power, TheEnginesLoadsAreMeasured) {
  std::jthread counter([&](std::stop_token stop) {
    for (std::int64_t energy = 1'000'000; !stop.stop_requested(); energy += 1000) {
      powercap_.write("energy_uj", std::to_string(energy % 1'000'000'000));
      sleep_for({0.0002});
    }
  });
  parts = {.powercap = powercap_.root(), .sleep = [](Seconds) { sleep_for({0.01}); }};
  auto demo = model::find_model("demo");
  ASSERT_TRUE(demo.has_value());
  model_ = std::move(*demo);
  backend_.catalog = cpu::catalog();
  ASSERT_VALUE(const record::Experiment record, run({{"limit", {"100"}}}));
  ASSERT_EQ(record.rows.size(), 2u);
  for (const record::Row& row : record.rows) {
    EXPECT_TRUE(row.validity.valid) << (row.validity.reasons.empty() ? "" : row.validity.reasons[0]);
    EXPECT_GT(value(row, "tokens_per_joule"), 0);
    EXPECT_GT(value(row, "throughput"), 0);
    EXPECT_THAT(row.path, Contains(HasSubstr("attention")));
  }
  EXPECT_EQ(memory_.live().count, 0);
}

TEST_F(Power, TheProcessorsCountersAreNotTakenForALoadOnAGpu) {
  with_limit();
  NamedGpu gpu(*device_);
  backend_.device = &gpu;
  ASSERT_VALUE(const record::Experiment record, run());
  EXPECT_EQ(record.state, record::State::skipped);
  EXPECT_TRUE(record.rows.empty());
  EXPECT_THAT(record.reasons, Contains(testing::AllOf(HasSubstr("RAPL"), HasSubstr("NVML"), HasSubstr("a GPU"))));
  EXPECT_THAT(record.remedy, testing::AllOf(HasSubstr("nvidia-smi"), HasSubstr("--device cpu")));
  EXPECT_EQ(record.hypotheses[0].outcome, Outcome::skipped);
  EXPECT_EQ(runs_, 0);
  EXPECT_EQ(powercap_.read("constraint_0_power_limit_uw"), "100000000") << "nor is the processor's limit touched";
}

TEST_F(Power, WithoutCountersItIsSkippedWithReasonAndRemedy) {
  parts.powercap = powercap_.root() / "none";
  ASSERT_VALUE(const record::Experiment record, run());
  EXPECT_EQ(record.state, record::State::skipped);
  EXPECT_THAT(record.reasons, Contains(HasSubstr("no energy counter")));
  EXPECT_THAT(record.remedy, HasSubstr("modprobe"));
  EXPECT_EQ(record.hypotheses[0].outcome, Outcome::skipped);
}

}  // namespace
}  // namespace rl::experiments
