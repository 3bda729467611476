// The experiment on streams at sizes that take moments, and with a planted fault.

#include "experiments/fixture.h"
#include "experiments/timeline.h"

namespace rl::experiments {
namespace {

using record::Outcome;
using record::State;

TEST_F(ExperimentsTest, StreamsTimesThreeWaysThatGiveTheSameTokens) {
  ASSERT_VALUE(const record::Experiment record, run("streams", {{"inputs", {"5"}}, {"tokens", {"24"}}}));
  EXPECT_EQ(record.state, State::done);
  ASSERT_EQ(record.rows.size(), 3u);
  const char* const kWays[] = {"sequential", "workers", "batch"};
  for (std::size_t i = 0; i < 3; ++i) {
    const record::Row& row = record.rows[i];
    EXPECT_TRUE(row.validity.valid);
    EXPECT_EQ(*lab::find_axis(row, "way"), kWays[i]);
    EXPECT_THAT(row.note, testing::HasSubstr("the same 8 tokens"));
    const record::Metric &time = *lab::find_metric(row, "time"), &first = *lab::find_metric(row, "latency_first"),
                         &last = *lab::find_metric(row, "latency_last");
    EXPECT_EQ(first.samples.size(), time.samples.size());
    for (std::size_t s = 0; s < time.samples.size(); ++s) {
      EXPECT_GT(first.samples[s], 0);
      EXPECT_LE(first.samples[s], last.samples[s]);
      EXPECT_LE(last.samples[s], time.samples[s]) << "nothing is done after the end";
    }
  }
  EXPECT_THAT(record.rows[2].note, testing::HasSubstr("in one step of 120 tokens"));
  EXPECT_EQ(lab::find_metric(record.rows[0], "overlap_share")->value, 0) << "one after the other";
  EXPECT_EQ(lab::find_metric(record.rows[0], "steps_at_once")->value, 1);
  EXPECT_GE(lab::find_metric(record.rows[1], "steps_at_once")->value, 1);
  EXPECT_THAT(record.meaning, testing::HasSubstr("By the device's timestamps 2 workers had"));
  EXPECT_EQ(record.comparisons.size(), 3u);
  for (const record::Hypothesis& hypothesis : record.hypotheses) EXPECT_TRUE(hypothesis.measured) << hypothesis.id;
  EXPECT_EQ(memory_.live().count, 0) << "everything is given back";
  expect_recomputable(record);
}

TEST(Overlap, CountsOnlyTheTimesAtWhichStepsRun) {
  const auto span = [](double begin, double end) { return Span{{begin}, {end}}; };
  const Overlap alone = overlap_of({{span(0, 2), span(2, 4)}});
  EXPECT_EQ(alone.share, 0);
  EXPECT_EQ(alone.mean, 1);
  EXPECT_EQ(alone.step.count, 2);
  // 0..1 one step, 1..3 two, 3..4 one, 4..6 none, 6..8 three.
  const Overlap three = overlap_of({{span(0, 3), span(6, 8)}, {span(1, 4), span(6, 8)}, {span(6, 8)}});
  EXPECT_DOUBLE_EQ(three.share, 4.0 / 6);
  EXPECT_DOUBLE_EQ(three.mean, 12.0 / 6);
  EXPECT_EQ(overlap_of({}).mean, 0);
}

TEST_F(ExperimentsTest, StreamsSaysWhenThereAreTooFewProcessors) {
  ASSERT_VALUE(const record::Experiment many,
               run("streams", {{"inputs", {"2"}}, {"tokens", {"8"}}, {"workers", {"3"}}}));
  EXPECT_TRUE(many.rows.empty());
  EXPECT_THAT(many.notes, testing::Contains(testing::HasSubstr("workers 3 was not measured: 2 processors")));
  EXPECT_EQ(many.outcome, Outcome::inconclusive);
  const auto single = cpu::make_device({.threads = 1});
  backend_.device = single.get();
  ASSERT_VALUE(const record::Experiment one, run("streams", {}));
  EXPECT_EQ(one.state, State::skipped);
  EXPECT_FALSE(one.remedy.empty());
}

// Argmax as it is, but the last row of a batch of several gets another token.
Status batch_dependent_sample(const ops::SampleArgs& args, void* workspace, Stream& stream) {
  RL_TRY(cpu::catalog().sample.front().launch(args, workspace, stream));
  const std::int64_t rows = args.logits.shape[0];
  auto* drawn = static_cast<std::int32_t*>(args.out.data);
  if (rows > 1) drawn[rows - 1] = (drawn[rows - 1] + 1) % 256;
  return ok();
}

TEST_F(ExperimentsTest, StreamsLeavesOutWhatTheModelsContextCannotHold) {
  model_.config.max_positions = 512;
  ASSERT_VALUE(const record::Experiment standard, run("streams", {{"inputs", {"2"}}}));
  EXPECT_TRUE(standard.rows.empty()) << "512 tokens and those that are generated";
  EXPECT_THAT(standard.notes, testing::Contains(testing::HasSubstr("needs a context of 520; the model has 512")));
  ASSERT_VALUE(const record::Experiment asked, run("streams", {{"inputs", {"2"}}, {"tokens", {"512"}}}));
  ASSERT_EQ(asked.rows.size(), 1u);
  EXPECT_FALSE(asked.rows[0].validity.valid);
}

TEST_F(ExperimentsTest, ABatchThatChangesTokensIsNotTimed) {
  std::vector<ops::Variant<ops::SampleArgs>> variants(cpu::catalog().sample.begin(), cpu::catalog().sample.end());
  for (auto& variant : variants) variant.launch = batch_dependent_sample;
  backend_.catalog.sample = variants;
  ASSERT_VALUE(const record::Experiment record, run("streams", {{"inputs", {"3"}}, {"tokens", {"8"}}}));
  ASSERT_EQ(record.rows.size(), 1u);
  EXPECT_FALSE(record.rows[0].validity.valid);
  EXPECT_THAT(record.rows[0].validity.reasons[0], testing::HasSubstr("batch generates other tokens"));
  EXPECT_TRUE(record.comparisons.empty());
}

}  // namespace
}  // namespace rl::experiments
