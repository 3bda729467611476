// The experiment on batching at sizes that take moments, and with planted faults.

#include "experiments/batching_load.h"
#include "experiments/fixture.h"

namespace rl::experiments {
namespace {

using record::Outcome;
using record::State;

class BatchingTest : public ExperimentsTest {
 protected:
  std::unique_ptr<engine::Engine> make_engine(bool prefix_reuse) {
    auto engine = engine::Engine::make(model_, backend_, memory_,
                                       {.max_context = 256, .max_seqs = 4, .prefix_reuse = prefix_reuse});
    RL_CHECK(engine.has_value());
    return std::move(*engine);
  }
  static Result<loadgen::Load> serve(engine::Engine& engine, std::span<const loadgen::Arrival> arrivals,
                                     const loadgen::Admission& admission) {
    loadgen::EngineTarget target(engine);
    return loadgen::serve(target, arrivals, admission);
  }
  std::vector<loadgen::Arrival> requests(std::int64_t n) const {
    return loadgen::make_requests(n, {.prompt_low = 70, .prompt_high = 90, .output_low = 2, .output_high = 6},
                                  model_.config.vocab, 5);
  }
};

TEST_F(BatchingTest, TimesThreeWaysThenArrivalsThenWhatFits) {
  ASSERT_VALUE(const record::Experiment record,
               run("batching", {{"load", {"queue", "60", "fit"}}, {"seqs", {"4"}}, {"requests", {"6"}}}));
  EXPECT_EQ(record.state, State::done);
  ASSERT_GE(record.rows.size(), 5u);
  for (std::size_t w = 0; w < 3; ++w) {
    const record::Row& row = record.rows[w];
    EXPECT_TRUE(row.validity.valid);
    EXPECT_EQ(*lab::find_axis(row, "way"), kBatchingWays[w].name);
    EXPECT_THAT(row.note, testing::HasSubstr("the same tokens for 6 requests"));
    EXPECT_GT(lab::find_metric(row, "output_throughput")->value, 0);
    EXPECT_EQ(lab::find_metric(row, "thrown_away_share")->value > 0, w == kStaticBatch);
  }
  const record::Row& poisson = record.rows[3];
  EXPECT_EQ(*lab::find_axis(poisson, "load"), "60");
  for (const char* metric : {"ttft_p50", "tpot_p50", "itl_p50", "e2e_p50", "goodput", "good_share"})
    EXPECT_NE(lab::find_metric(poisson, metric), nullptr) << metric;
  EXPECT_EQ(lab::find_metric(poisson, "failed")->value, 0);
  EXPECT_LE(lab::find_metric(poisson, "ttft_p50")->value, lab::find_metric(poisson, "e2e_p50")->value);
  for (std::size_t i = 4; i < record.rows.size(); ++i) {
    const record::Row& fit = record.rows[i];
    EXPECT_TRUE(fit.validity.valid);
    EXPECT_GE(lab::find_metric(fit, "sequences")->value, 1);
    EXPECT_EQ(lab::find_metric(fit, "memory_predicted")->value, lab::find_metric(fit, "memory_counted")->value);
  }
  EXPECT_EQ(record.comparisons.size(), 3u);
  EXPECT_TRUE(record.hypotheses.at(0).measured);
  EXPECT_EQ(memory_.live().count, 0) << "everything is given back";
  expect_recomputable(record);
}

TEST_F(BatchingTest, FewStandForAllByTheirLengths) {
  const auto all = requests(40);
  const auto few = spread_by_length(all, 8);
  ASSERT_EQ(few.size(), 8u);
  EXPECT_NEAR(output_tokens(few) / 8, output_tokens(all) / 40, 0.5);
  for (std::size_t i = 1; i < few.size(); ++i) {
    EXPECT_LE(few[i - 1].request.max_tokens, few[i].request.max_tokens);
    EXPECT_NE(few[i - 1].request.prompt, few[i].request.prompt);
  }
  EXPECT_EQ(output_tokens(spread_by_length(all, 40)), output_tokens(all));
}

TEST_F(BatchingTest, ALoadAloneMeasuresTheThroughputItRefersTo) {
  ASSERT_VALUE(const record::Experiment record,
               run("batching", {{"load", {"50"}}, {"seqs", {"2"}}, {"requests", {"3"}}}));
  ASSERT_EQ(record.rows.size(), 4u);
  EXPECT_EQ(*lab::find_axis(record.rows[0], "load"), "queue");
  ASSERT_VALUE(const record::Experiment wrong, run("batching", {{"load", {"1001"}}}));
  ASSERT_EQ(wrong.rows.size(), 1u);
  EXPECT_FALSE(wrong.rows[0].validity.valid);
  EXPECT_EQ(wrong.outcome, Outcome::inconclusive);
}

TEST_F(BatchingTest, AWarmPrefixOrATruncatedAnswerIsAnError) {
  const auto arrivals = requests(3);
  const auto warm_engine = make_engine(true);
  ASSERT_OK(serve(*warm_engine, arrivals, {}));
  const auto warm = serve(*warm_engine, arrivals, {});
  ASSERT_FALSE(warm);
  EXPECT_EQ(warm.error().rule, "load.warm_prefix");

  auto duplicates = requests(2);
  duplicates[1] = duplicates[0];
  duplicates[1].request.prompt.push_back(7);
  const auto fresh = make_engine(true);
  const auto shared = serve(*fresh, duplicates, {.policy = loadgen::Policy::one_at_a_time});
  ASSERT_FALSE(shared) << "the second prompt begins with the first";
  EXPECT_EQ(shared.error().rule, "load.warm_prefix");

  const auto cold = make_engine(false);
  ASSERT_OK(serve(*cold, arrivals, {}));
  auto short_answer = arrivals;
  for (TokenId id = 0; id < model_.config.vocab; ++id) short_answer[1].request.stop_ids.push_back(id);
  const auto truncated = serve(*cold, short_answer, {});
  ASSERT_FALSE(truncated);
  EXPECT_EQ(truncated.error().rule, "load.truncated");
  EXPECT_THAT(truncated.error().what, testing::HasSubstr("request 1"));
}

// Argmax as it is, but the last row of a batch of several gets another token.
Status batch_dependent_sample(const ops::SampleArgs& args, void* workspace, Stream& stream) {
  RL_TRY(cpu::catalog().sample.front().launch(args, workspace, stream));
  const std::int64_t rows = args.logits.shape[0];
  auto* drawn = static_cast<std::int32_t*>(args.out.data);
  if (rows > 1) drawn[rows - 1] = (drawn[rows - 1] + 1) % 256;
  return ok();
}

TEST_F(BatchingTest, ABatchThatChangesTokensIsNotTimedUnlessItNeverPromisedEqualOnes) {
  std::vector<ops::Variant<ops::SampleArgs>> variants(cpu::catalog().sample.begin(), cpu::catalog().sample.end());
  for (auto& variant : variants) variant.launch = batch_dependent_sample;
  backend_.catalog.sample = variants;
  ASSERT_VALUE(const record::Experiment record,
               run("batching", {{"load", {"queue"}}, {"seqs", {"4"}}, {"requests", {"5"}}}));
  ASSERT_EQ(record.rows.size(), 1u);
  EXPECT_FALSE(record.rows[0].validity.valid);
  EXPECT_THAT(record.rows[0].validity.reasons[0], testing::HasSubstr("gets other tokens from"));
  EXPECT_TRUE(record.comparisons.empty());

  for (auto& variant : variants) variant.facts.batch_invariant = false;
  const auto engine = make_engine(false);
  ASSERT_VALUE(const std::string note, compare_batching_tokens(*engine, requests(5), 4));
  EXPECT_THAT(note, testing::HasSubstr("do not promise"));
}

TEST_F(BatchingTest, APlanThatIsNotWhatIsAllocatedIsInvalid) {
  lab::Context context{.backend = backend_, .oracle = oracle_, .memory = memory_, .model = model_};
  const auto engine = make_engine(false);
  const Bytes weights = engine->memory_plan().of("weights"), memory = weights + Bytes{64 << 20};
  ASSERT_VALUE(const record::Row right, try_largest_batch(context, *engine, weights, 256, memory));
  EXPECT_TRUE(right.validity.valid);
  // Memory that somebody else takes and the plan does not know of.
  LimitedResource less(device_->memory(), memory_.live() + Bytes{32 << 20});
  CountingResource short_of_it(less);
  lab::Context poor{.backend = backend_, .oracle = oracle_, .memory = short_of_it, .model = model_};
  ASSERT_VALUE(const record::Row wrong, try_largest_batch(poor, *engine, weights, 256, memory));
  EXPECT_FALSE(wrong.validity.valid);
  EXPECT_THAT(wrong.validity.reasons[0], testing::HasSubstr("were predicted to fit and did not"));
}

}  // namespace
}  // namespace rl::experiments
