#include "lab/runner.h"

#include "check/result.h"

namespace rl::lab {
namespace {

// What a scripted experiment does at each point of its axis "n".
struct Script {
  Status available = ok(), begin = ok(), conclude = ok();
  std::vector<std::string> failing;  // values of n whose measurement fails
  std::vector<std::string> measured;
  std::function<void(const std::string& n)> at;  // called at each point
};
Script* script = nullptr;

const Info& scripted_info() {
  static const Info info{.id = "scripted",
                         .title = "Scripted",
                         .plan = "0",
                         .question = "?",
                         .baseline = "none",
                         .axes = {{"n", "a number", {"1", "2", "3"}, {"1", "2", "3", "4"}}},
                         .hypotheses = {{.id = "scripted.h", .claim = "c", .expected = {1, 2}}},
                         .expected_quick = {1},
                         .expected_full = {1}};
  return info;
}

class Scripted final : public Experiment {
 public:
  const Info& info() const override { return scripted_info(); }
  bool wanted(const Point& point, const Context&) const override { return point.text("n") != "4"; }
  Status available(const Context&) const override { return script->available; }
  Status begin(Context&, record::Experiment&) override { return script->begin; }
  Status measure(Context& context, const Point& point, record::Experiment& record) override {
    const std::string& n = point.text("n");
    if (std::count(script->failing.begin(), script->failing.end(), n))
      return Error{.kind = ErrorKind::out_of_memory, .what = "n " + n + " did not fit"};
    RL_ASSIGN(void* data, context.memory.allocate({1000 * point.number("n")}));
    context.memory.deallocate(data, {1000 * point.number("n")});
    script->measured.push_back(n);
    if (script->at) script->at(n);
    record.rows.push_back({.axes = point.values()});
    return ok();
  }
  Status conclude(Context&, record::Experiment& record) override {
    record.outcome = record::Outcome::holds;
    return script->conclude;
  }
};

class RunnerTest : public testing::Test {
 protected:
  RunnerTest() { script = &script_; }
  Result<record::Experiment> run() {
    return run_experiment(
        {.info = scripted_info(), .make = []() -> std::unique_ptr<Experiment> { return std::make_unique<Scripted>(); }},
        context_);
  }

  Script script_;
  ops::Backend backend_;
  ops::Oracle oracle_;
  CountingResource memory_{host_memory()};
  model::ModelSource model_;
  Context context_{.backend = backend_, .oracle = oracle_, .memory = memory_, .model = model_};
};

TEST_F(RunnerTest, MeasuresEveryPointAndCountsMemory) {
  ASSERT_VALUE(const record::Experiment record, run());
  EXPECT_EQ(record.state, record::State::done);
  EXPECT_THAT(script_.measured, testing::ElementsAre("1", "2", "3"));
  EXPECT_EQ(record.peak_memory_bytes, 3000);
  EXPECT_EQ(record.question, "?");
}

TEST_F(RunnerTest, AFailedPointIsAnInvalidRowAndTheNextPointRuns) {
  script_.failing = {"2"};
  ASSERT_VALUE(const record::Experiment record, run());
  EXPECT_EQ(record.state, record::State::done);
  ASSERT_EQ(record.rows.size(), 3u);
  EXPECT_FALSE(record.rows[1].validity.valid);
  EXPECT_THAT(record.rows[1].validity.reasons, testing::ElementsAre("out of memory: n 2 did not fit"));
  EXPECT_TRUE(record.rows[2].validity.valid);
}

TEST_F(RunnerTest, APointThatFindsNoMemoryIsAnInvalidRowToo) {
  script_.at = [](const std::string& n) {
    if (n == "1") throw std::bad_alloc();
    if (n == "2") std::vector<char>().reserve(std::numeric_limits<std::size_t>::max());
  };
  ASSERT_VALUE(const record::Experiment record, run());
  EXPECT_EQ(record.state, record::State::done);
  ASSERT_EQ(record.rows.size(), 3u);
  for (const std::size_t i : {0, 1})
    EXPECT_THAT(record.rows[i].validity.reasons,
                testing::ElementsAre("out of memory: this machine has too little memory for it"));
  EXPECT_TRUE(record.rows[2].validity.valid);
}

// A device that is lost once this is set.
class Losable final : public Device {
 public:
  const DeviceInfo& info() const override { return info_; }
  Bytes available_memory() const override { return {}; }
  MemoryResource& memory() override { return host_memory(); }
  MemoryResource& pinned_memory() override { return host_memory(); }
  Result<std::unique_ptr<Stream>> make_stream() override { return *loss; }
  Result<std::unique_ptr<Event>> make_event() override { return *loss; }
  Result<std::unique_ptr<Event>> make_timed_event() override { return *loss; }
  Result<Seconds> elapsed(const Event&, const Event&) const override { return *loss; }
  bool can_capture() const override { return false; }
  Result<std::unique_ptr<Device>> make_share(int, int) override { return *loss; }
  std::optional<Error> lost() const override { return is_lost ? std::optional(*loss) : std::nullopt; }
  bool is_lost = false;
  static inline const std::optional<Error> loss = Error{.kind = ErrorKind::device,
                                                        .what = "a call failed: the GPU is lost to this process",
                                                        .rule = kDeviceLost,
                                                        .found = "cudaErrorAssert",
                                                        .hint = "again"};

 private:
  DeviceInfo info_;
};

TEST_F(RunnerTest, ALostDeviceEndsTheExperimentWithWhatItHasAndSkipsTheNext) {
  Losable device;
  backend_.device = &device;
  script_.at = [&](const std::string& n) { device.is_lost = n == "2"; };  // in silence: the point says it is done
  ASSERT_VALUE(const record::Experiment record, run());
  EXPECT_EQ(record.state, record::State::failed);
  EXPECT_THAT(record.reasons, testing::ElementsAre("a call failed: the GPU is lost to this process: cudaErrorAssert"));
  EXPECT_EQ(record.remedy, "again");
  ASSERT_EQ(record.rows.size(), 2u) << "nothing is tried after it";
  EXPECT_TRUE(record.rows[0].validity.valid);
  EXPECT_FALSE(record.rows[1].validity.valid) << "whatever it measured";
  EXPECT_EQ(record.outcome, record::Outcome::invalid) << "nothing is concluded";

  ASSERT_VALUE(const record::Experiment next, run());
  EXPECT_EQ(next.state, record::State::skipped);
  EXPECT_THAT(next.reasons, testing::ElementsAre("not run: the device was lost before it began"));
  EXPECT_TRUE(next.rows.empty());

  device.is_lost = false;
  script_.at = [&](const std::string& n) { device.is_lost = n == "3"; };
  EXPECT_EQ(run()->state, record::State::failed) << "also after the last point";
}

TEST_F(RunnerTest, WhatTheMachineLacksIsASkipWithReasonAndRemedy) {
  script_.available = Error{.kind = ErrorKind::unsupported, .what = "needs a GPU", .hint = "run it on one"};
  ASSERT_VALUE(const record::Experiment record, run());
  EXPECT_EQ(record.state, record::State::skipped);
  EXPECT_THAT(record.reasons, testing::ElementsAre("needs a GPU"));
  EXPECT_EQ(record.remedy, "run it on one");
  EXPECT_EQ(record.hypotheses[0].outcome, record::Outcome::skipped);
  EXPECT_TRUE(script_.measured.empty());
}

TEST_F(RunnerTest, AFailedBeginningOrEndFailsTheExperiment) {
  script_.begin = Error{.kind = ErrorKind::io, .what = "no file"};
  EXPECT_EQ(run()->state, record::State::failed);
  EXPECT_TRUE(script_.measured.empty());
  script_.begin = ok();
  script_.conclude = Error{.kind = ErrorKind::internal, .what = "no fit"};
  ASSERT_VALUE(const record::Experiment record, run());
  EXPECT_EQ(record.state, record::State::failed);
  EXPECT_EQ(record.outcome, record::Outcome::invalid);
}

TEST_F(RunnerTest, ChosenAxesIgnoreTheStandardSelection) {
  context_.axes = {{"n", {"4"}}};
  ASSERT_OK(run());
  EXPECT_THAT(script_.measured, testing::ElementsAre("4"));
  context_.axes = {{"m", {"4"}}};
  EXPECT_EQ(run().error().kind, ErrorKind::usage);
}

TEST_F(RunnerTest, AnExperimentNotBuiltYetSaysSo) {
  ASSERT_VALUE(const record::Experiment record, run_experiment({.info = scripted_info()}, context_));
  EXPECT_EQ(record.state, record::State::not_built);
}

}  // namespace
}  // namespace rl::lab
