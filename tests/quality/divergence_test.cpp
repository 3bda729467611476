#include "quality/divergence.h"

#include "engine/fixture.h"
#include "quality/consistency.h"
#include "quality/layer_error.h"

namespace rl::quality {
namespace {

using engine::EngineOptions;
using engine::Precision;
using engine::TestBackend;

TEST(CompareRows, IsTheDefinition) {
  // p = (1/2, 1/4, 1/4), q = (1/4, 1/2, 1/4): KL = 1/2 ln 2 - 1/4 ln 2.
  const float l2 = std::log(2.0f);
  const float p[] = {l2, 0, 0}, q[] = {5, 5 + l2, 5};
  const TokenScore score = compare_rows(p, q, 1);
  EXPECT_NEAR(score.kld, std::log(2) / 4, 1e-7);
  EXPECT_NEAR(score.nll_base, std::log(4), 1e-7);
  EXPECT_NEAR(score.nll, std::log(2), 1e-7);
  EXPECT_NEAR(score.dp(), 0.25, 1e-7);
  EXPECT_FALSE(score.same_top);
}

TEST(CompareRows, EqualRowsDivergeByExactlyNothing) {
  const float row[] = {-3.5f, 1000.25f, 999.0f, -std::numeric_limits<float>::infinity()};
  const TokenScore score = compare_rows(row, row, 2);
  EXPECT_EQ(score.kld, 0);
  EXPECT_EQ(score.dp(), 0);
  EXPECT_TRUE(score.same_top);
  EXPECT_NEAR(score.nll, 1.25 + std::log1p(std::exp(-1.25)), 1e-9);
}

TEST(CompareRows, EqualLogitsTakeTheLowestId) {
  const float a[] = {1, 2, 2}, b[] = {1, 2, 3};
  EXPECT_TRUE(compare_rows(a, a, 0).same_top);
  EXPECT_FALSE(compare_rows(a, b, 0).same_top) << "1 against 2";
}

TEST(Summarize, MeansErrorsAndQuantiles) {
  std::vector<TokenScore> tokens;
  for (int i = 1; i <= 1000; ++i)
    tokens.push_back({.nll_base = 1, .nll = 1 + 1e-3 * i, .kld = 1e-3 * i, .same_top = i % 4 != 0});
  const Divergence d = summarize(tokens);
  EXPECT_EQ(d.tokens, 1000);
  EXPECT_NEAR(d.ppl_base.value, std::exp(1.0), 1e-12);
  EXPECT_NEAR(d.ppl_base.se, 0, 1e-12);
  EXPECT_NEAR(d.ln_ppl_ratio.value, 0.5005, 1e-12);
  // Of 1..1000 the standard deviation is sqrt((1000^2 - 1) / 12 * 1000 / 999).
  const double se = 1e-3 * std::sqrt((1e6 - 1) / 12 * 1000 / 999) / std::sqrt(1000.0);
  EXPECT_NEAR(d.ln_ppl_ratio.se, se, 1e-12);
  EXPECT_NEAR(d.ppl_ratio.se, std::exp(0.5005) * se, 1e-12);
  EXPECT_NEAR(d.kld.value, 0.5005, 1e-12);
  EXPECT_DOUBLE_EQ(d.min_kld, 0.001);
  EXPECT_DOUBLE_EQ(d.median_kld, 0.5);
  EXPECT_DOUBLE_EQ(d.p99_kld, 0.99);
  EXPECT_DOUBLE_EQ(d.p999_kld, 0.999);
  EXPECT_DOUBLE_EQ(d.max_kld, 1);
  EXPECT_DOUBLE_EQ(d.same_top.value, 0.75);
  EXPECT_LT(d.dp.value, 0) << "the true token became less likely";
  EXPECT_GT(d.rms_dp.value, -d.dp.value);
}

TEST(Summarize, OneTokenHasNoErrorAndNoneHasNothing) {
  const TokenScore one{.nll_base = 1, .nll = 1, .kld = 0, .same_top = true};
  EXPECT_TRUE(std::isnan(summarize({&one, 1}).kld.se));
  EXPECT_TRUE(std::isnan(summarize({}).kld.value));
  EXPECT_TRUE(std::isnan(summarize({}).max_kld));
}

struct Demo : testing::Test {
  TestBackend backend{false};
  std::vector<TokenId> ids;
  void SetUp() override {
    ASSERT_VALUE(const auto files, model::find_files(engine::demo_folder()));
    ASSERT_VALUE(const auto tokenizer, model::Tokenizer::load(*files));
    ASSERT_VALUE(const FileView text, files->open("eval.txt"));
    ASSERT_VALUE(ids, tokenizer.encode(text.text().substr(0, 4000), false));
    ids.resize(900);
  }
  std::unique_ptr<engine::Engine> make(Precision precision) {
    auto made = engine::make_engine("demo", *backend, {.precision = precision, .max_context = 256, .max_seqs = 4});
    RL_CHECK(made.has_value());
    return std::move(*made);
  }
};

TEST_F(Demo, TheBaselineAgainstItselfDivergesByNothing) {
  const auto engine = make(Precision::bf16), again = make(Precision::bf16);
  for (engine::Engine* candidate : {engine.get(), again.get()}) {
    ASSERT_VALUE(const auto scores, score_both(*engine, *candidate, ids, {.window = 200, .bos = 0}));
    const Divergence d = summarize(scores);
    EXPECT_EQ(d.tokens, 900);
    EXPECT_EQ(d.kld.value, 0);
    EXPECT_EQ(d.max_kld, 0);
    EXPECT_EQ(d.same_top.value, 1);
    EXPECT_EQ(d.ppl_ratio.value, 1);
  }
  ASSERT_VALUE(const auto errors, layer_errors(*engine, *again, std::span(ids).first(100)));
  for (const LayerError& error : errors) EXPECT_EQ(error.relative, 0);
}

TEST_F(Demo, RoundingToBf16ShowsInEveryMeasureButOnlyALittle) {
  const auto exact = make(Precision::f32), rounded = make(Precision::bf16);
  ASSERT_VALUE(const auto scores, score_both(*exact, *rounded, ids, {.window = 200, .bos = 0}));
  const Divergence d = summarize(scores);
  EXPECT_GT(d.kld.value, 0);
  EXPECT_LT(d.kld.value, 1e-3);
  EXPECT_LE(d.median_kld, d.p99_kld);
  EXPECT_LE(d.p99_kld, d.max_kld);
  EXPECT_GT(d.same_top.value, 0.97);
  EXPECT_NEAR(d.ppl_ratio.value, d.ppl.value / d.ppl_base.value, 1e-9);
  EXPECT_LT(d.ppl_ratio.se, 0.1 * d.ppl.se / d.ppl.value) << "paired";

  ASSERT_VALUE(const auto errors, layer_errors(*exact, *rounded, std::span(ids).first(128)));
  ASSERT_EQ(std::ssize(errors), exact->config().layers + 1);
  for (std::size_t i = 0; i < errors.size(); ++i) {
    EXPECT_EQ(errors[i].layer, static_cast<int>(i) - 1);
    if (i == 0) {
      EXPECT_EQ(errors[i].relative, 0) << "the file holds the table in bf16";
      EXPECT_EQ(errors[i].snr_db(), std::numeric_limits<double>::infinity());
      continue;
    }
    EXPECT_GT(errors[i].relative, 1e-4);
    EXPECT_LT(errors[i].relative, 0.02);
    EXPECT_NEAR(errors[i].snr_db(), -20 * std::log10(errors[i].relative), 1e-9);
  }
}

TEST_F(Demo, TheTapStartsAtTheEmbeddingAndIsCausal) {
  const auto engine = make(Precision::f32);
  std::vector<TokenId> some(ids.begin(), ids.begin() + 70);
  some[50] = some[3];
  using Streams = std::vector<std::vector<float>>;
  const auto trace = [&](std::span<const TokenId> of) -> Result<Streams> {
    Streams streams;
    RL_TRY(engine->residuals(of, [&](int layer, const TensorRef& hidden) -> Status {
      EXPECT_EQ(layer, std::ssize(streams) - 1);
      streams.emplace_back(hidden.as<const float>(), hidden.as<const float>() + hidden.elements());
      return ok();
    }));
    return streams;
  };
  ASSERT_VALUE(const Streams all, trace(some));
  ASSERT_VALUE(const Streams head, trace(std::span(some).first(35)));
  ASSERT_EQ(std::ssize(all), engine->config().layers + 1);
  const auto hidden = static_cast<std::size_t>(engine->config().hidden);
  const auto row = [&](const std::vector<float>& stream, std::size_t i) {
    return std::span(stream).subspan(i * hidden, hidden);
  };
  EXPECT_TRUE(std::ranges::equal(row(all[0], 3), row(all[0], 50))) << "the same token, wherever it stands";
  for (std::size_t layer = 1; layer < all.size(); ++layer) {
    EXPECT_FALSE(std::ranges::equal(row(all[layer], 3), row(all[layer], 50)));
    EXPECT_FALSE(std::ranges::equal(row(all[layer], 3), row(all[layer - 1], 3)));
  }
  for (std::size_t layer = 0; layer < all.size(); ++layer)
    for (std::size_t i = 0; i < 35 * hidden; ++i) ASSERT_NEAR(all[layer][i], head[layer][i], 1e-4) << layer;

  const Status refused = engine->residuals(std::span(ids).first(600), [](int, const TensorRef&) { return ok(); });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().rule, "residuals.length");
}

TEST_F(Demo, GreedyOutputIsComparedTokenByToken) {
  const auto exact = make(Precision::f32), rounded = make(Precision::bf16);
  ConsistencyPlan plan{.tokens = 24, .batches = {1, 3}, .repeats = 2};
  for (std::size_t i = 0; i < 5; ++i)
    plan.prompts.emplace_back(ids.begin() + static_cast<std::ptrdiff_t>(40 * i),
                              ids.begin() + static_cast<std::ptrdiff_t>(40 * i + 20 + i));
  ASSERT_VALUE(const Consistency self, consistency(*exact, *exact, plan));
  EXPECT_EQ(self.outputs.size(), 5u * 2 * 2);
  EXPECT_EQ(self.identical(), 1) << "the same bits alone and in a batch";
  EXPECT_EQ(self.first_difference(), 24);

  ASSERT_VALUE(const Consistency other, consistency(*exact, *rounded, plan));
  ASSERT_VALUE(const auto mine, greedy(*exact, plan.prompts, plan.tokens, 1));
  ASSERT_VALUE(const auto theirs, greedy(*rounded, plan.prompts, plan.tokens, 3));
  for (const Output& output : other.outputs) {
    if (output.batch != 3 || output.repeat != 1) continue;
    const auto& a = mine[output.prompt];
    const auto& b = theirs[output.prompt];
    if (!output.differs_at) {
      EXPECT_EQ(a, b);
      continue;
    }
    const auto at = static_cast<std::size_t>(*output.differs_at);
    EXPECT_NE(a[at], b[at]);
    EXPECT_TRUE(std::equal(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(at), b.begin()));
  }
}

}  // namespace
}  // namespace rl::quality
