// What fits a memory, predicted without loading, against what the allocator counts.

#include "engine/fit.h"

#include "engine/fixture.h"

namespace rl::engine {
namespace {

using namespace literals;

struct FitTest : testing::Test {
  TestBackend backend{false};
};

TEST_F(FitTest, ThePredictionIsTheAllocatorsCountForEveryModelAndFormat) {
  std::vector<std::string> models(std::begin(kFixtureModels), std::end(kFixtureModels));
  models.emplace_back("demo");
  for (const std::string& model : models)
    for (const NumberFormat& format : formats()) {
      ASSERT_VALUE(const model::ModelSource source, model::find_model(folder_of(model)));
      const EngineOptions options = options_for(
          source.config, {.precision = format.precision, .weights = format.weights, .step_tokens = 64}, 3, 200);
      ASSERT_VALUE(const MemoryPlan predicted, plan_memory(source.config, *backend, options));
      EXPECT_EQ(predicted.max_context_tokens, 3 * 256) << "whole pages for three sequences of 200 tokens";
      CountingResource counted(host_memory());
      ASSERT_VALUE(const auto engine, Engine::make(source, *backend, counted, options));
      EXPECT_EQ(predicted.total(), counted.live()) << model << ", " << format.name;
    }
}

TEST_F(FitTest, TheLargestBatchLoadsIntoTheMemoryAndOneMoreDoesNot) {
  for (const char* model : {"llama2", "qwen3", "demo"}) {
    ASSERT_VALUE(const model::ModelSource source, model::find_model(folder_of(model)));
    const EngineOptions options{.step_tokens = 64};
    const Bytes memory = std::string_view(model) == "demo" ? 48_MiB : 6_MiB;
    ASSERT_VALUE(const Fit fit, largest_batch(source.config, *backend, options, 192, memory));
    ASSERT_GT(fit.seqs, 1) << model;
    LimitedResource limited(host_memory(), memory);
    CountingResource counted(limited);
    {
      ASSERT_VALUE(const auto engine,
                   Engine::make(source, *backend, counted, options_for(source.config, options, fit.seqs, 192)));
      EXPECT_EQ(counted.live(), fit.plan.total()) << model;
    }
    const auto more = Engine::make(source, *backend, counted, options_for(source.config, options, fit.seqs + 1, 192));
    ASSERT_FALSE(more) << model << " has room for more than " << fit.seqs;
    EXPECT_EQ(more.error().kind, ErrorKind::out_of_memory);
    EXPECT_EQ(counted.live(), 0_MiB);
  }
}

// Cache of codes takes half the bytes, in the prediction, in the engine, and so in what fits.
TEST_F(FitTest, AnFp8CacheTakesHalfAndTwiceAsManySequencesFit) {
  ASSERT_VALUE(const model::ModelSource source, model::find_model("demo"));
  EngineOptions wide{.step_tokens = 64}, narrow = wide;
  narrow.kv_cache = KvCacheType::fp8;
  const EngineOptions options = options_for(source.config, wide, 3, 200);
  const EngineOptions half = options_for(source.config, narrow, 3, 200);
  EXPECT_EQ(half.kv_memory.count * 2, options.kv_memory.count);
  ASSERT_VALUE(const MemoryPlan predicted, plan_memory(source.config, *backend, half));
  EXPECT_EQ(predicted.max_context_tokens, 3 * 256);
  CountingResource counted(host_memory());
  ASSERT_VALUE(const auto engine, Engine::make(source, *backend, counted, half));
  EXPECT_EQ(predicted.total(), counted.live());
  const model::ModelConfig& c = source.config;
  EXPECT_EQ(engine->kv_bytes_per_token().count, 2 * c.layers * c.kv_heads * c.head_dim);

  // Of a model whose weights are small beside the cache.
  ASSERT_VALUE(const model::ModelSource large, model::find_model("synthetic:llama-3-8b"));
  ASSERT_VALUE(const Fit fit, largest_batch(large.config, *backend, {}, 8192, 32_GiB));
  ASSERT_VALUE(const Fit more, largest_batch(large.config, *backend, {.kv_cache = KvCacheType::fp8}, 8192, 32_GiB));
  EXPECT_GE(more.seqs, 2 * fit.seqs - 2);
  EXPECT_LE(more.seqs, 2 * fit.seqs + 2);
}

TEST_F(FitTest, NothingFitsWhereTheWeightsDoNot) {
  ASSERT_VALUE(const model::ModelSource source, model::find_model("demo"));
  ASSERT_VALUE(const Fit fit, largest_batch(source.config, *backend, {}, 256, 8_MiB));
  EXPECT_EQ(fit.seqs, 0);
  EXPECT_GT(fit.plan.of("weights"), 8_MiB);
}

TEST_F(FitTest, AModelLargerThanThisMachineIsPlannedWithoutItsWeights) {
  ASSERT_VALUE(const model::ModelSource source, model::find_model("synthetic:llama-3-8b"));
  ASSERT_VALUE(const Fit fit, largest_batch(source.config, *backend, {}, 8192, 32_GiB));
  // Its weights take 8.03e9 x 2 bytes; a token 128 KiB of cache; a context of 8192 tokens 1 GiB.
  EXPECT_GT(fit.plan.of("weights"), 14_GiB);
  EXPECT_GE(fit.seqs, 14);
  EXPECT_LE(fit.seqs, 17);
  EXPECT_LE(fit.plan.total(), 32_GiB);
}

}  // namespace
}  // namespace rl::engine
