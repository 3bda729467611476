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
