// The experiments on a real backend, at sizes that take moments, and with planted faults.

#include <fstream>

#include "experiments/fixture.h"
#include "lab/engine_load.h"

namespace rl::experiments {
namespace {

using record::Outcome;
using record::State;

TEST_F(ExperimentsTest, AttentionMeasuresBothVariantsAndCountsTheScoreMatrix) {
  ASSERT_VALUE(
      const record::Experiment record,
      run("attention", {{"seq", {"64", "128", "256"}}, {"heads", {"2"}}, {"head_dim", {"64"}}, {"causal", {"yes"}}}));
  EXPECT_EQ(record.state, State::done);
  ASSERT_EQ(record.rows.size(), 6u);
  for (const record::Row& row : record.rows) {
    EXPECT_TRUE(row.validity.valid);
    const double seq = std::stod(*lab::find_axis(row, "seq"));
    const double layer = lab::find_metric(row, "layer_bytes")->value,
                 workspace = lab::find_metric(row, "workspace_bytes")->value;
    EXPECT_EQ(layer - workspace, 4 * seq * 2 * 64 * 2) << "Q, K, V and O in bf16";
    if (*lab::find_axis(row, "variant") == "standard") {
      EXPECT_GE(workspace, 4 * 2 * seq * seq) << "the score matrix of 2 heads";
    }
    EXPECT_THAT(row.path, testing::ElementsAre("attention/cpu." + *lab::find_axis(row, "variant")));
  }
  EXPECT_EQ(record.comparisons.size(), 3u);
  EXPECT_EQ(memory_.live().count, 0) << "everything is given back";
  for (const record::Hypothesis& hypothesis : record.hypotheses) {
    if (hypothesis.id == "attention.speed") {
      EXPECT_EQ(hypothesis.outcome, Outcome::inconclusive) << "no long sequence";
    }
    if (hypothesis.id == "attention.memory_growth") {
      EXPECT_EQ(hypothesis.outcome, Outcome::holds) << "the square against the length";
    }
  }
}

// Flash attention as it is, but with one element wrong.
Status wrong_launch(const ops::AttentionArgs& args, void* workspace, Stream& stream) {
  for (const auto& variant : cpu::catalog().attention)
    if (std::string_view(variant.name).ends_with(".flash")) RL_TRY(variant.launch(args, workspace, stream));
  static_cast<num::bf16*>(args.out.data)[args.out.elements() - 1].bits ^= 0x8000;
  return ok();
}

TEST_F(ExperimentsTest, AWrongVariantIsNotTimed) {
  std::vector<ops::Variant<ops::AttentionArgs>> variants(cpu::catalog().attention.begin(),
                                                         cpu::catalog().attention.end());
  for (auto& variant : variants)
    if (std::string_view(variant.name).ends_with(".flash")) variant.launch = wrong_launch;
  backend_.catalog.attention = variants;
  ASSERT_VALUE(const record::Experiment record,
               run("attention", {{"seq", {"64"}}, {"heads", {"1"}}, {"causal", {"no"}}}));
  ASSERT_EQ(record.rows.size(), 1u);
  EXPECT_FALSE(record.rows[0].validity.valid);
  EXPECT_THAT(record.rows[0].validity.reasons[0], testing::HasSubstr("disagrees with the oracle"));
  EXPECT_TRUE(record.comparisons.empty());
}

TEST_F(ExperimentsTest, ScoresThatDoNotFitAreAResultAndLongerOnesAreNotTried) {
  LimitedResource small(device_->memory(), {2 << 20});
  CountingResource counted(small);
  lab::Context context{.backend = backend_,
                       .oracle = oracle_,
                       .memory = counted,
                       .model = model_,
                       .effort = 0.1,
                       .axes = {{"seq", {"64", "1024", "2048"}}, {"heads", {"1"}}, {"causal", {"no"}}}};
  ASSERT_VALUE(record::Experiment record, lab::run_experiment(*find("attention"), context));
  EXPECT_EQ(record.state, State::done);
  std::vector<std::string> rows;
  for (const record::Row& row : record.rows) {
    EXPECT_TRUE(row.validity.valid);
    rows.push_back(*lab::find_axis(row, "variant") + " " + *lab::find_axis(row, "seq"));
    EXPECT_EQ(lab::find_metric(row, "time") == nullptr, rows.back() == "standard 1024") << rows.back();
  }
  EXPECT_THAT(rows, testing::ElementsAre("standard 64", "flash 64", "standard 1024", "flash 1024", "flash 2048"));
  EXPECT_THAT(record.rows[2].note, testing::MatchesRegex("does not fit: needs [^,]+, free .+"));
  EXPECT_EQ(record.comparisons.size(), 1u);
  EXPECT_EQ(counted.live().count, 0);
  expect_recomputable(record);

  LimitedResource smaller(device_->memory(), {1 << 18});
  CountingResource none(smaller);
  lab::Context poor{.backend = backend_,
                    .oracle = oracle_,
                    .memory = none,
                    .model = model_,
                    .effort = 0.1,
                    .axes = {{"seq", {"1024"}}, {"heads", {"1"}}, {"causal", {"no"}}}};
  ASSERT_VALUE(record, lab::run_experiment(*find("attention"), poor));
  ASSERT_EQ(record.rows.size(), 2u);
  for (const record::Row& row : record.rows) EXPECT_THAT(row.note, testing::HasSubstr("Q, K, V and O do not fit"));
  EXPECT_EQ(none.live().count, 0);
}

// Experiments after each other load the model once; one that does not run it finds the memory free.
TEST_F(ExperimentsTest, ExperimentsShareTheWeightsOfARun) {
  lab::Context context{.backend = backend_,
                       .oracle = oracle_,
                       .memory = memory_,
                       .model = model_,
                       .effort = 0.1,
                       .axes = {{"load", {"prefill", "decode"}}, {"tokens", {"16"}}}};
  ASSERT_VALUE(const record::Experiment baseline, lab::run_experiment(*find("baseline"), context));
  EXPECT_EQ(baseline.state, State::done);
  const Bytes kept = memory_.live();
  EXPECT_GT(kept.count, model_.config.parameters()) << "the weights stay";
  EXPECT_GE(baseline.peak_memory_bytes, kept.count);
  EXPECT_GE(lab::find_metric(baseline.rows.at(0), "point_peak_memory")->value, static_cast<double>(kept.count));
  context.axes = {};
  ASSERT_VALUE(const record::Experiment engines, lab::run_experiment(*find("engines"), context));
  ASSERT_EQ(engines.rows.size(), 1u);
  EXPECT_EQ(memory_.live(), kept) << "no second copy";
  context.axes = {{"seq", {"64"}}, {"heads", {"1"}}, {"causal", {"no"}}};
  ASSERT_VALUE(const record::Experiment attention, lab::run_experiment(*find("attention"), context));
  EXPECT_LT(attention.peak_memory_bytes, kept.count);
  EXPECT_EQ(memory_.live().count, 0);
}

TEST_F(ExperimentsTest, BaselineShowsCeilingsPrefillAndDecode) {
  ASSERT_VALUE(const record::Experiment record, run("baseline", {{"tokens", {"32"}}}));
  EXPECT_EQ(record.state, State::done);
  std::vector<std::string> found;
  for (const record::Row& row : record.rows) {
    EXPECT_TRUE(row.validity.valid);
    for (const record::Metric& metric : row.metrics) {
      EXPECT_GT(metric.value, 0) << metric.name;
      found.push_back(metric.name);
    }
    if (*lab::find_axis(row, "load") != "ceiling") {
      EXPECT_THAT(row.path, testing::Contains(testing::HasSubstr("attention/cpu.standard")))
          << "before any optimisation";
    }
  }
  EXPECT_THAT(found, testing::IsSupersetOf({"read_bandwidth", "matrix_rate_bf16", "prefill_throughput",
                                            "decode_throughput", "share_of_read_bandwidth"}));
  EXPECT_EQ(memory_.live().count, 0);
}

TEST_F(ExperimentsTest, BaselineLeavesOutWhatTheModelsContextCannotHold) {
  model_.config.max_positions = 256;
  ASSERT_VALUE(const record::Experiment standard, run("baseline", {{"load", {"prefill", "decode"}}}));
  EXPECT_EQ(standard.state, State::done);
  ASSERT_EQ(standard.rows.size(), 2u) << "128 tokens; 1,024 are left out";
  for (const record::Row& row : standard.rows) EXPECT_TRUE(row.validity.valid) << row.validity.reasons[0];
  EXPECT_THAT(standard.notes, testing::IsSupersetOf({testing::HasSubstr("Left out: prefill at 1024 tokens"),
                                                     testing::HasSubstr("Left out: decode at 1024 tokens")}));

  ASSERT_VALUE(const record::Experiment asked, run("baseline", {{"load", {"prefill"}}, {"tokens", {"64", "256"}}}));
  ASSERT_EQ(asked.rows.size(), 2u);
  EXPECT_TRUE(asked.rows[0].validity.valid);
  EXPECT_FALSE(asked.rows[1].validity.valid) << "an asked-for length that does not fit is no note but an error";
  EXPECT_THAT(asked.rows[1].validity.reasons[0], testing::HasSubstr("does not fit the model's context"));
}

TEST_F(ExperimentsTest, ALoadIsServedWholeAndCold) {
  const auto serve = [&](bool prefix_reuse, const std::vector<engine::Request>& requests) -> Status {
    RL_ASSIGN(const auto engine,
              engine::Engine::make(model_, backend_, memory_,
                                   {.max_context = 256, .max_seqs = 2, .prefix_reuse = prefix_reuse}));
    RL_TRY(lab::serve_all(*engine, requests));
    return lab::serve_all(*engine, requests);
  };
  const auto requests = lab::random_requests(3, {.prompt = 80, .generated = 4}, model_.config.vocab, 7);
  EXPECT_NE(requests[0].prompt, requests[1].prompt);
  EXPECT_OK(serve(false, requests));
  const Status warm = serve(true, requests);
  ASSERT_FALSE(warm);
  EXPECT_EQ(warm.error().rule, "load.warm_prefix");

  auto short_answer = requests;
  for (TokenId id = 0; id < model_.config.vocab; ++id) short_answer[1].stop_ids.push_back(id);
  const Status truncated = serve(false, short_answer);
  ASSERT_FALSE(truncated);
  EXPECT_EQ(truncated.error().rule, "load.truncated");
  EXPECT_EQ(truncated.error().found, "1 tokens, stop");
}

// Only these may be skipped on a machine without a GPU; each says why and what to do about it, and nothing but
// experiments that are not built yet is left out of the list.
TEST_F(ExperimentsTest, NothingElseIsSkippedOnACpu) {
  std::vector<std::string> skipped;
  lab::Context context{.backend = backend_, .oracle = oracle_, .memory = memory_, .model = model_, .axes = {}};
  for (const lab::Entry& entry : all()) {
    if (entry.make == nullptr) continue;
    const Status available = entry.make()->available(context);
    if (available) continue;
    skipped.push_back(entry.info.id);
    EXPECT_EQ(available.error().kind, ErrorKind::unsupported) << entry.info.id;
    EXPECT_FALSE(available.error().what.empty()) << entry.info.id;
    EXPECT_FALSE(available.error().hint.empty()) << entry.info.id;
  }
  std::vector<std::string> allowed = {"graphs", "tensor-cores"};
  if (!std::ifstream("/sys/class/powercap/intel-rapl:0/energy_uj").good()) allowed.push_back("power");
  EXPECT_THAT(skipped, testing::UnorderedElementsAreArray(allowed));
}

TEST_F(ExperimentsTest, ASkippedOneStillShowsWhatThePlanExpects) {
  ASSERT_VALUE(const record::Experiment record, run("graphs", {}));
  EXPECT_EQ(record.state, State::skipped);
  EXPECT_THAT(record.reasons, testing::ElementsAre(testing::HasSubstr("no launches to capture")));
  EXPECT_THAT(record.remedy, testing::HasSubstr("a machine with an NVIDIA GPU"));
  EXPECT_EQ(record.expected, "10-30% less latency");
  ASSERT_EQ(record.hypotheses.size(), 3u);
  EXPECT_EQ(record.hypotheses[0].expected.low, 0.1);
  EXPECT_EQ(record.hypotheses[0].outcome, Outcome::skipped);
  EXPECT_FALSE(record.hypotheses[0].measured_value.has_value());
}

TEST_F(ExperimentsTest, OurOwnEngineHasARowBesideTheOnesThatAreNotDriven) {
  ASSERT_VALUE(const record::Experiment record, run("engines", {}));
  EXPECT_EQ(record.state, State::skipped);
  EXPECT_EQ(record.outcome, Outcome::skipped);
  EXPECT_THAT(record.reasons, testing::ElementsAre(testing::HasSubstr("driving other engines is not built yet")));
  EXPECT_THAT(record.remedy, testing::HasSubstr("tools/bench/peer"));
  EXPECT_EQ(record.hypotheses[0].outcome, Outcome::skipped);
  EXPECT_FALSE(record.hypotheses[0].measured_value);
  ASSERT_EQ(record.rows.size(), 1u);
  for (const char* name : {"prefill_throughput", "decode_throughput"}) {
    const record::Metric* const metric = lab::find_metric(record.rows[0], name);
    ASSERT_TRUE(metric) << name;
    EXPECT_GT(metric->value, 0) << name;
    EXPECT_FALSE(metric->samples.empty()) << name;
  }
  EXPECT_THAT(record.meaning, testing::HasSubstr("This engine alone"));
}

TEST(List, HoldsEveryRowOfThePlanOnce) {
  std::vector<std::string> ids;
  for (const lab::Entry& entry : all()) ids.push_back(entry.info.id);
  EXPECT_THAT(ids, testing::ElementsAre("baseline", "attention", "fragmentation", "quantization", "graphs", "streams",
                                        "batching", "power", "tensor-cores", "engines", "combined"));
  EXPECT_EQ(find("flight"), nullptr);
}

}  // namespace
}  // namespace rl::experiments
