// quantization and combined at sizes that take moments.

#include "experiments/fixture.h"
#include "experiments/ladder.h"
#include "model/synthetic.h"

namespace rl::experiments {
namespace {

using record::Outcome;
using record::State;

const record::Row* row_of(const record::Experiment& record, std::string_view axis, std::string_view value) {
  for (const record::Row& row : record.rows)
    if (const std::string* found = lab::find_axis(row, axis); found && *found == value) return &row;
  return nullptr;
}

const record::Hypothesis& hypothesis_of(const record::Experiment& record, std::string_view id) {
  for (const record::Hypothesis& hypothesis : record.hypotheses)
    if (hypothesis.id == id) return hypothesis;
  RL_CHECK_MSG(false, id);
}

double value_of(const record::Row& row, const char* metric) {
  const record::Metric* found = lab::find_metric(row, metric);
  RL_CHECK_MSG(found != nullptr, metric);
  return found->value;
}

class FormatsTest : public ExperimentsTest {};

TEST_F(FormatsTest, QuantizationMeasuresBytesQualityAndNativeSpeedOnly) {
  ASSERT_VALUE(const record::Experiment record, run("quantization", {{"format", {"bf16", "fp32", "fp8", "int8"}}}));
  EXPECT_EQ(record.state, State::done);
  const record::Row *bf16 = row_of(record, "format", "bf16"), *fp8 = row_of(record, "format", "fp8"),
                    *int8 = row_of(record, "format", "int8");
  ASSERT_TRUE(bf16 && fp8 && int8);
  EXPECT_EQ(value_of(*bf16, "mean_kld"), 0) << "the baseline against itself";
  EXPECT_EQ(value_of(*bf16, "perplexity_ratio"), 1);
  EXPECT_GT(value_of(*fp8, "mean_kld"), value_of(*int8, "mean_kld")) << "3 mantissa bits against 7";
  EXPECT_LT(value_of(*int8, "weight_bytes"), value_of(*bf16, "weight_bytes"));
  EXPECT_LT(value_of(*int8, "peak_memory_bytes"), value_of(*bf16, "peak_memory_bytes")) << "of its engine alone";
  EXPECT_GE(value_of(*int8, "point_peak_memory"),
            value_of(*int8, "peak_memory_bytes") + value_of(*bf16, "peak_memory_bytes"))
      << "the baseline's engine is there meanwhile";
  EXPECT_EQ(lab::find_metric(*fp8, "prefill_time"), nullptr) << "emulated";
  EXPECT_THAT(fp8->note, testing::HasSubstr("emulated"));
  for (const char* metric : {"prefill_time", "decode_token_time"}) {
    EXPECT_NE(lab::find_metric(*int8, metric), nullptr) << metric;
    EXPECT_NE(lab::find_metric(*bf16, metric), nullptr) << metric << ", of the baseline alone";
  }
  EXPECT_THAT(fp8->path, testing::Contains(testing::HasSubstr("linear/cpu.emulated")));

  EXPECT_EQ(hypothesis_of(record, "quantization.fp8_speed").outcome, Outcome::skipped);
  EXPECT_THAT(hypothesis_of(record, "quantization.fp8_speed").reason, testing::HasSubstr("emulation"));
  EXPECT_TRUE(hypothesis_of(record, "quantization.int8_speed").measured);
  EXPECT_NEAR(*hypothesis_of(record, "quantization.int8_memory").measured_value,
              1 - value_of(*int8, "weight_bytes") / value_of(*bf16, "weight_bytes"), 1e-12);
  EXPECT_EQ(hypothesis_of(record, "quantization.int8_degradation").outcome, Outcome::refuted);
  EXPECT_EQ(memory_.live().count, 0);
  expect_recomputable(record);
}

// Drawn weights have no quality: a trained model's stands for it, in rows of its own.
TEST_F(FormatsTest, ATrainedModelsQualityStandsForDrawnWeights) {
  model::ModelConfig small = model_.config;
  small.layers = 2;
  ASSERT_VALUE(const model::ModelSource drawn, model::synthetic_model("two layers", small));
  lab::Context context{.backend = backend_,
                       .oracle = oracle_,
                       .memory = memory_,
                       .model = drawn,
                       .effort = 0.1,
                       .axes = {{"format", {"bf16", "int8"}}},
                       .trained = &model_};
  ASSERT_VALUE(const record::Experiment formats, lab::run_experiment(*find("quantization"), context));
  std::vector<std::string> rows;
  for (const record::Row& row : formats.rows) {
    EXPECT_TRUE(row.validity.valid);
    if (lab::find_axis(row, "format") == nullptr) continue;
    const std::string &shape = *lab::find_axis(row, "shape"), &format = *lab::find_axis(row, "format");
    rows.push_back(shape + " " + format);
    EXPECT_EQ(lab::find_metric(row, "mean_kld") != nullptr, shape == "demo") << rows.back();
    EXPECT_EQ(lab::find_metric(row, "prefill_time") != nullptr, shape == "given") << rows.back();
    EXPECT_EQ(lab::find_metric(row, "decode_token_time") != nullptr, shape == "given") << rows.back();
  }
  EXPECT_THAT(rows, testing::ElementsAre("demo bf16", "given bf16", "demo int8", "given int8"));
  EXPECT_THAT(formats.meaning, testing::HasSubstr("int8 saves"));
  EXPECT_TRUE(hypothesis_of(formats, "quantization.int8_speed").measured);
  expect_recomputable(formats);

  context.axes = {{"rung", {"baseline", "flash", "format"}}};
  ASSERT_VALUE(const record::Experiment combined, lab::run_experiment(*find("combined"), context));
  EXPECT_THAT(combined.notes, testing::Contains(testing::HasSubstr("the rows' quality is that of demo")));
  EXPECT_EQ(row_of(combined, "rung", "format")->note, "int8");
  EXPECT_GT(value_of(*row_of(combined, "rung", "format"), "mean_kld"), 0);
  context.weights.drop();
  EXPECT_EQ(memory_.live().count, 0);
}

TEST_F(FormatsTest, RungsAreTheLadderThenAllButOne) {
  const std::vector<std::string> ids = rung_ids();
  ASSERT_EQ(ids.size(), 1 + 2 * kTechniques.size());
  ASSERT_VALUE(const Rung format, rung_from("format"));
  EXPECT_TRUE(format.has(Technique::flash) && format.has(Technique::format));
  EXPECT_FALSE(format.has(Technique::graphs) || format.has(Technique::batching) || format.has(Technique::power));
  EXPECT_EQ(format.added, Technique::format);
  ASSERT_VALUE(const Rung without, rung_from("without-flash"));
  EXPECT_EQ(without.left_out, Technique::flash);
  EXPECT_FALSE(without.has(Technique::flash));
  EXPECT_TRUE(without.has(Technique::power) && without.has(Technique::batching));
  EXPECT_EQ(rung_from("without-luck").error().kind, ErrorKind::usage);
}

TEST_F(FormatsTest, CombinedClimbsAndLeavesOut) {
  ASSERT_VALUE(const record::Experiment record, run("combined", {}));
  EXPECT_EQ(record.state, State::done);
  for (const std::string& id : rung_ids()) {
    const record::Row* row = row_of(record, "rung", id);
    ASSERT_TRUE(row) << id;
    EXPECT_TRUE(row->validity.valid) << id;
    const bool missing = id.ends_with("graphs") || id.ends_with("power");
    EXPECT_EQ(lab::find_metric(*row, "request_time") == nullptr, missing) << id;
    EXPECT_EQ(row->note.empty(), !missing && id != "format") << id;
  }
  const record::Row *flash = row_of(record, "rung", "flash"), *format = row_of(record, "rung", "format");
  EXPECT_EQ(format->note, "int8") << "fp8 is emulated here";
  EXPECT_THAT(record.advice, testing::AnyOf(testing::HasSubstr("--format int8"), testing::HasSubstr("baseline")));
  EXPECT_THAT(flash->path, testing::Contains(testing::HasSubstr("attention/cpu.flash")));
  EXPECT_LT(value_of(*flash, "mean_kld"), 1e-3);
  EXPECT_GT(value_of(*format, "mean_kld"), value_of(*flash, "mean_kld"));
  EXPECT_LT(value_of(*format, "memory_bytes"), value_of(*flash, "memory_bytes"));
  EXPECT_THAT(row_of(record, "rung", "without-flash")->path,
              testing::Contains(testing::HasSubstr("attention/cpu.standard")));
  EXPECT_TRUE(hypothesis_of(record, "combined.throughput").measured);
  EXPECT_EQ(hypothesis_of(record, "combined.power").outcome, Outcome::skipped);
  EXPECT_FALSE(hypothesis_of(record, "combined.power").reason.empty());
  int ranked = 0;
  for (const record::Row& row : record.rows) ranked += lab::find_axis(row, "technique") != nullptr;
  EXPECT_EQ(ranked, 3);
  EXPECT_EQ(memory_.live().count, 0);
  expect_recomputable(record);
}

// Limits nobody can keep: no format is taken, and the ladder goes on without.
TEST_F(FormatsTest, TheUsersLimitsDecideAboutFormats) {
  lab::Context context{.backend = backend_,
                       .oracle = oracle_,
                       .memory = memory_,
                       .model = model_,
                       .limits = {.max_kld = 0, .max_ppl_loss = 0},
                       .effort = 0.1,
                       .axes = {{"rung", {"baseline", "format"}}}};
  ASSERT_VALUE(const record::Experiment record, lab::run_experiment(*find("combined"), context));
  EXPECT_THAT(row_of(record, "rung", "format")->note, testing::HasSubstr("no 8-bit format fits"));
  context.axes = {{"format", {"bf16", "int8"}}};
  ASSERT_VALUE(const record::Experiment formats, lab::run_experiment(*find("quantization"), context));
  EXPECT_THAT(formats.meaning, testing::HasSubstr("No smaller format stays within"));
}

}  // namespace
}  // namespace rl::experiments
