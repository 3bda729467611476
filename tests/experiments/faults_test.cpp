// Faults planted in an experiment that is run as any other: each leaves no valid row and no verdict, and the row says
// why. docs/measuring.md lists the rules.

#include <cmath>
#include <cstring>
#include <limits>

#include "experiments/fixture.h"
#include "lab/compare_runs.h"
#include "lab/disturbance.h"
#include "lab/engine_load.h"
#include "loadgen/serve.h"

namespace rl::experiments {
namespace {

using record::Outcome;

// The model's weights, but each matrix of a layer is filled with one value.
class Constant final : public model::WeightSource {
 public:
  Constant(std::unique_ptr<WeightSource> real, char byte) : real_(std::move(real)), byte_(byte) {}
  const std::map<std::string, Info>& tensors() const override { return real_->tensors(); }
  Result<TensorRef> rows(const std::string& name, std::int64_t first, std::int64_t n,
                         std::vector<std::byte>& scratch) const override {
    RL_ASSIGN(const TensorRef rows, real_->rows(name, first, n, scratch));
    if (name.find("_proj.weight") == name.npos) return rows;
    std::vector<std::byte> filled(static_cast<std::size_t>(rows.elements() * size_of(rows.dtype)));
    std::memset(filled.data(), byte_, filled.size());
    TensorRef result = rows;
    scratch = std::move(filled);
    result.data = scratch.data();
    return result;
  }

 private:
  std::unique_ptr<WeightSource> real_;
  char byte_;
};

// A client to which each look at the clock costs a second.
class SlowClock final : public loadgen::Clock {
 public:
  Seconds now() override {
    late_ += Seconds{1};
    return loadgen::real_clock().now() + late_;
  }
  void wait_until(Seconds time) override { loadgen::real_clock().wait_until(time - late_); }

 private:
  Seconds late_;
};

struct Planted;
struct Fault {
  const char* name;
  const char* reason;  // within the row's; empty: nothing was planted
  void (*plant)(Planted&);
};

// What the faults change.
struct Planted {
  model::ModelSource* model = nullptr;
  lab::Context* context = nullptr;
  bool prefix_reuse = false;
  std::vector<engine::Request> requests;
  loadgen::Clock* clock = &loadgen::real_clock();
  std::optional<double> value;  // measured instead of a time
  int samples = 12;
  bool serves_nothing = false;
};
Planted* planted = nullptr;

const lab::Info& planted_info() {
  static const lab::Info info{.id = "planted",
                              .title = "Planted",
                              .plan = "0",
                              .question = "?",
                              .baseline = "the same",
                              .axes = {},
                              .hypotheses = {{.id = "planted.h", .claim = "it can be measured", .expected = {0, 1e9}}},
                              .expected_quick = {1},
                              .expected_full = {1}};
  return info;
}

// Times serving the requests against doing so again.
class PlantedExperiment final : public lab::Experiment {
 public:
  const lab::Info& info() const override { return planted_info(); }

  Status measure(lab::Context& context, const lab::Point& point, record::Experiment& record) override {
    RL_ASSIGN(const auto engine,
              engine::Engine::make(context.model, context.backend, context.memory,
                                   {.max_context = 256, .max_seqs = 2, .prefix_reuse = planted->prefix_reuse}));
    std::vector<loadgen::Arrival> arrivals;
    for (const engine::Request& request : planted->requests) arrivals.push_back({.request = request});
    const auto serve = [&]() -> Status {
      if (planted->serves_nothing) return ok();
      loadgen::EngineTarget target(*engine);
      RL_TRY(loadgen::serve_timed(target, arrivals, {}, loadgen::Prompts::distinct, *planted->clock));
      return ok();
    };
    record::Row row{.axes = point.values()};
    measure::Plan plan = context.plan();
    plan.max_samples = planted->samples;
    plan.timeout = Seconds{600};  // however slow the machine, all samples are taken
    if (planted->value) {
      RL_ASSIGN(row.metrics.emplace_back(), measure::run_values(plan, "rate", "tok/s", record::Better::higher,
                                                                [] { return Result<double>(*planted->value); }));
    }
    const measure::Task task{.name = "serve", .run = serve, .prepare = [] { return ok(); }};
    RL_ASSIGN(measure::PairResult pair, measure::run_pair(plan, task, task));
    row.metrics.push_back(std::move(pair.a));
    record.rows.push_back(std::move(row));
    record.comparisons.push_back(std::move(pair.comparison));
    return ok();
  }

  Status conclude(lab::Context&, record::Experiment& record) override {
    std::optional<lab::Estimate> ratio;
    for (const record::Comparison& comparison : record.comparisons)
      ratio = lab::Estimate{comparison.ratio, comparison.ci95};
    lab::conclude_hypothesis(record, "planted.h", ratio, "nothing valid was measured");
    record.outcome = lab::overall(record);
    return ok();
  }
};

class Faults : public ExperimentsTest, public testing::WithParamInterface<Fault> {
 protected:
  Result<record::Experiment> run_with(void (*plant)(Planted&)) {
    lab::Context context{.backend = backend_, .oracle = oracle_, .memory = memory_, .model = model_};
    Planted faults{.model = &model_,
                   .context = &context,
                   .requests = lab::random_requests(3, {.prompt = 80, .generated = 6}, model_.config.vocab, 7)};
    if (plant != nullptr) plant(faults);
    planted = &faults;
    return lab::run_experiment(
        {.info = planted_info(),
         .make = []() -> std::unique_ptr<lab::Experiment> { return std::make_unique<PlantedExperiment>(); }},
        context);
  }
};

TEST_F(Faults, WithoutOneTheRowIsValidAndJudged) {
  ASSERT_VALUE(const record::Experiment record, run_with(nullptr));
  ASSERT_EQ(record.rows.size(), 1u);
  EXPECT_TRUE(record.rows[0].validity.valid) << testing::PrintToString(record.rows[0].validity.reasons);
  EXPECT_EQ(record.outcome, Outcome::holds) << record.hypotheses[0].reason;
}

TEST_P(Faults, EachLeavesNoValidRowAndNoVerdict) {
  ASSERT_VALUE(const record::Experiment record, run_with(GetParam().plant));
  ASSERT_EQ(record.rows.size(), 1u);
  EXPECT_FALSE(record.rows[0].validity.valid);
  EXPECT_THAT(record.rows[0].validity.reasons, testing::Contains(testing::HasSubstr(GetParam().reason)));
  EXPECT_TRUE(record.comparisons.empty());
  EXPECT_EQ(record.outcome, Outcome::inconclusive);
}

void zero_weights(Planted& p) { p.model->weights = std::make_unique<Constant>(std::move(p.model->weights), 0); }
void one_weight(Planted& p) { p.model->weights = std::make_unique<Constant>(std::move(p.model->weights), 0x3C); }

// Others take six tenths of two processors, and this process the rest.
std::optional<telemetry::CpuTime> loaded_machine() {
  static double seconds = 0;
  ++seconds;
  return telemetry::CpuTime{.wall = {seconds}, .busy = {2 * seconds}, .own = {0.8 * seconds}, .cpus = 2};
}

INSTANTIATE_TEST_SUITE_P(
    Cases, Faults,
    testing::Values(Fault{"truncated_output", "[load.truncated]",
                          [](Planted& p) {
                            for (TokenId id = 0; id < p.model->config.vocab; ++id) p.requests[1].stop_ids.push_back(id);
                          }},
                    Fault{"zero_weights", "[weights.constant]", zero_weights},
                    Fault{"weights_of_one_value", "[weights.constant]", one_weight},
                    Fault{"warm_prefix_cache", "[load.warm_prefix]", [](Planted& p) { p.prefix_reuse = true; }},
                    Fault{"duplicate_prompts", "[load.duplicate_prompts]",
                          [](Planted& p) { p.requests[2].prompt = p.requests[0].prompt; }},
                    Fault{"client_bound", "[load.client_bound]",
                          [](Planted& p) {
                            static SlowClock slow;
                            p.clock = &slow;
                          }},
                    Fault{"short_run", "(lab.short_run)", [](Planted& p) { p.serves_nothing = true; }},
                    Fault{"foreign_load", "took 60% of the processors' time, 25% is the most (lab.foreign_load)",
                          [](Planted& p) { p.context->cpu_time = loaded_machine; }},
                    Fault{"nan", "[measure.not_finite]",
                          [](Planted& p) { p.value = std::numeric_limits<double>::quiet_NaN(); }}),
    [](const auto& instance) { return std::string(instance.param.name); });

// The experiment that all others refer to, where foreign load alone leaves it without a valid row: the run goes on, its
// result is inconclusive, and so is a comparison with it, in either direction.
TEST_F(ExperimentsTest, ABaselineThatForeignLoadDisturbedIsInconclusiveAndStopsNothing) {
  const auto run_of = [&](const char* id, bool loaded) {
    lab::Context context{.backend = backend_,
                         .oracle = oracle_,
                         .memory = memory_,
                         .model = model_,
                         .effort = 0.1,
                         .axes = {{"tokens", {"128"}}}};
    if (loaded) context.cpu_time = loaded_machine;
    record::Run run{.id = id, .mode = "quick", .finished = "2026-11-23T15:00:00Z", .model = {.name = model_.name}};
    auto record = lab::run_experiment(*find("baseline"), context);
    if (record)
      run.experiments.push_back(std::move(*record));
    else
      ADD_FAILURE() << record.error().message();
    return run;
  };
  const record::Run quiet = run_of("quiet", false), loaded = run_of("loaded", true);
  ASSERT_TRUE(quiet.experiments.size() == 1 && loaded.experiments.size() == 1);
  const record::Experiment& record = loaded.experiments[0];
  EXPECT_EQ(record.state, record::State::done);
  EXPECT_EQ(record.outcome, Outcome::inconclusive);
  EXPECT_EQ(record.measured, "no valid row");
  EXPECT_THAT(record.reasons, testing::ElementsAre(testing::HasSubstr("lab.foreign_load")));
  ASSERT_EQ(record.rows.size(), quiet.experiments[0].rows.size());
  for (const record::Row& row : record.rows) EXPECT_TRUE(lab::only_foreign_load(row)) << row.note;
  expect_recomputable(record);

  for (const auto& [a, b] : {std::pair(&quiet, &loaded), std::pair(&loaded, &quiet), std::pair(&loaded, &loaded)}) {
    ASSERT_VALUE(const record::RunComparison comparison, lab::compare_runs(*a, *b, {}));
    EXPECT_EQ(judgement_of(comparison), record::Judgement::inconclusive) << a->id << " and " << b->id;
    EXPECT_EQ(comparison.undecided.size(), 2u) << "prefill and decode";
    EXPECT_THAT(comparison.undecided, testing::Each(testing::HasSubstr("lab.foreign_load")));
  }
}

TEST_F(Faults, TooFewSamplesGiveNoVerdict) {
  ASSERT_VALUE(const record::Experiment record, run_with([](Planted& p) { p.samples = 4; }));
  EXPECT_EQ(record.outcome, Outcome::inconclusive);
  EXPECT_EQ(record.hypotheses[0].reason, "too few samples for an interval");
  EXPECT_EQ(record.comparisons.at(0).verdict, record::Verdict::inconclusive);
}

}  // namespace
}  // namespace rl::experiments
