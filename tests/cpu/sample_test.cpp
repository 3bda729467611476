// The fast sampler gives cpu/ref's ids: on the case table, and on many more rows of every combination of filters.

#include "ops/sample.h"

#include "cpu/fast/variants.h"
#include "cpu/launch.h"
#include "cpu/ref/ref.h"
#include "num/random.h"

namespace rl::cpu {
namespace {

std::vector<TokenId> ids_of(const ops::SampleArgs& args) {
  const auto* const out = args.out.as<TokenId>();
  return {out, out + args.out.shape[0]};
}

TEST(Sample, GivesTheOraclesIds) {
  ThreadPool one(1), two(2);
  for (const ops::SampleCase& c : ops::kSampleCases) {
    if (!(c.tags & ops::kQuick)) continue;
    ASSERT_VALUE(const auto inputs, make_inputs(c));
    const std::vector<TokenId> expected = ref::sample(inputs.args);
    for (const std::string_view limit : kLimits)
      for (ThreadPool* pool : {&one, &two})
        for (const auto& variant : sample_variants()) {
          SCOPED_TRACE(fmt::format("{} {} under {}", variant.name, c.name, limit));
          std::fill_n(inputs.args.out.as<TokenId>(), c.rows, ops::kUnwritten);
          ASSERT_OK(launch(variant, inputs.args, *pool, limit));
          ASSERT_OK(inputs.memory.check_guards());
          ASSERT_EQ(ids_of(inputs.args), expected);
        }
  }
}

// Rows with every combination of the wishes below: 324 of them, with a draw each, on two vocabularies.
TEST(Sample, GivesTheOraclesIdsForEveryCombinationOfFilters) {
  ThreadPool pool(2);
  for (const std::int64_t vocab : {37, 3000}) {
    for (const ops::LogitKind kind : {ops::LogitKind::normal, ops::LogitKind::ties, ops::LogitKind::masked}) {
      std::vector<ops::SampleRow> wishes;
      for (const float temperature : {0.05f, 0.7f, 20.f})
        for (const std::int32_t top_k : {0, 1, 7, static_cast<std::int32_t>(vocab) - 1})
          for (const float top_p : {0.f, 0.3f, 0.97f, 1.f})
            for (const float min_p : {0.f, 0.02f, 0.6f, 1.5f})
              for (const float penalty : {1.f, 1.3f})
                wishes.push_back({.temperature = temperature,
                                  .top_k = top_k,
                                  .top_p = top_p,
                                  .min_p = min_p,
                                  .repetition_penalty = penalty,
                                  .seed = wishes.size(),
                                  .counter = 3,
                                  .history_begin = 0,
                                  .history_end = 20});
      const auto rows = static_cast<std::int64_t>(wishes.size());
      ASSERT_VALUE(auto inputs, make_inputs(ops::SampleCase{"mix", 0, rows, vocab, kind, 1, 0, 1, 0, 1.3f, 20}));
      inputs.args.row = wishes.data();
      const std::vector<TokenId> expected = ref::sample(inputs.args);
      EXPECT_GT(std::set<TokenId>(expected.begin(), expected.end()).size(), 8);
      for (const auto& variant : sample_variants()) {
        ASSERT_OK(launch(variant, inputs.args, pool));
        const std::vector<TokenId> ids = ids_of(inputs.args);
        for (std::size_t i = 0; i < ids.size(); ++i)
          ASSERT_EQ(ids[i], expected[i]) << variant.name << ", row " << i << ", temperature " << wishes[i].temperature
                                         << ", top_k " << wishes[i].top_k << ", top_p " << wishes[i].top_p << ", min_p "
                                         << wishes[i].min_p;
      }
    }
  }
}

// A row's id is its own: alone, or among others in any place.
TEST(Sample, IdsDoNotDependOnTheBatch) {
  ThreadPool pool(2);
  ASSERT_VALUE(const auto inputs,
               make_inputs(ops::SampleCase{"batch", 0, 20, 700, ops::LogitKind::normal, 0.9f, 0, 0.95f, 0, 1.1f, 30}));
  const ops::SampleArgs& all = inputs.args;
  for (const auto& variant : sample_variants()) {
    ASSERT_TRUE(variant.facts.batch_invariant);
    ASSERT_OK(launch(variant, all, pool));
    const std::vector<TokenId> together = ids_of(all);
    for (std::int64_t row = 0; row < 20; ++row) {
      ops::SampleArgs alone = all;
      alone.logits = tensor(all.logits.as<float>() + row * 700, {1, 700});
      alone.row = all.row + row;
      TokenId id = ops::kUnwritten;
      alone.out = tensor(&id, {1});
      ASSERT_OK(launch(variant, alone, pool));
      EXPECT_EQ(id, together[static_cast<std::size_t>(row)]);
    }
  }
}

}  // namespace
}  // namespace rl::cpu
