#include "quality/perplexity.h"

#include "base/clock.h"
#include "engine/fixture.h"

namespace rl::quality {
namespace {

using engine::demo_folder;
using engine::EngineOptions;
using engine::Precision;
using engine::TestBackend;

TEST(NegativeLogLikelihood, IsStableForLargeLogits) {
  const float logits[] = {1000, 1001, -5000, 1000};
  // 1 / (1 + 2/e)
  EXPECT_NEAR(negative_log_likelihood(logits, 1), std::log(1 + 2 / std::exp(1.0)), 1e-12);
  EXPECT_NEAR(negative_log_likelihood(logits, 2), 6001 + std::log(1 + 2 / std::exp(1.0)), 1e-9);
}

struct DemoText : testing::Test {
  TestBackend backend{false};
  std::vector<TokenId> ids;
  void SetUp() override {
    ASSERT_VALUE(const auto files, model::find_files(demo_folder()));
    ASSERT_VALUE(const auto tokenizer, model::Tokenizer::load(*files));
    ASSERT_VALUE(const FileView text, files->open("eval.txt"));
    ASSERT_VALUE(ids, tokenizer.encode(text.text(), false));
  }
  Result<Perplexity> score(const EngineOptions& options, std::int64_t tokens, const Windowing& how) {
    RL_ASSIGN(const auto engine, engine::make_engine("demo", *backend, options));
    return perplexity(*engine, std::span(ids).first(static_cast<std::size_t>(tokens)), how);
  }
};

TEST_F(DemoText, Bf16CostsLittle) {
  const Windowing how{.window = 512, .bos = 0};
  ASSERT_VALUE(const Perplexity exact,
               score({.precision = Precision::f32, .max_context = 512, .max_seqs = 1}, 4000, how));
  ASSERT_VALUE(const Perplexity rounded,
               score({.precision = Precision::bf16, .max_context = 512, .max_seqs = 1}, 4000, how));
  EXPECT_NE(exact.nll, rounded.nll);
  EXPECT_NEAR(rounded.ppl() / exact.ppl(), 1, 0.005);
  EXPECT_GT(exact.standard_error(), 0);
}

// e4m3 codes keep 4 significant bits: an element's error is at most 2^-4 of it, and, with mantissas spread evenly, a
// root mean square of r = 2^-3 / sqrt(12) sqrt(1/2) = 0.0255. A layer's attention then errs, relatively and to first
// order, by r for the values (weights sum to 1) and by as much for the scores of keys of like size; errors of L layers
// are independent and end in logits that err by at most sqrt(2 L) r of their spread s about their mean. Noise of
// variance e^2 in the logits costs e^2 / 2 of log-likelihood (the second term of the softmax's expansion: its first has
// no mean).
TEST_F(DemoText, Fp8KeysAndValuesCostWhatTheirRoundingDoes) {
  const Windowing how{.window = 512, .bos = 0};
  const EngineOptions bf16{.max_context = 512, .max_seqs = 1};
  EngineOptions fp8 = bf16;
  fp8.kv_cache = engine::KvCacheType::fp8;
  ASSERT_VALUE(const Perplexity wide, score(bf16, 8000, how));
  ASSERT_VALUE(const Perplexity narrow, score(fp8, 8000, how));
  ASSERT_VALUE(const auto engine, engine::make_engine("demo", *backend, bf16));
  double squares = 0;
  std::int64_t rows = 0;
  RL_CHECK(engine
               ->score(std::span(ids).first(500),
                       [&](std::int64_t, const TensorRef& logits) -> Status {
                         for (std::int64_t r = 0; r < logits.shape[0]; ++r, ++rows) {
                           const float* const row = logits.as<const float>() + r * logits.shape[1];
                           double sum = 0, sum_squares = 0;
                           for (std::int64_t i = 0; i < logits.shape[1]; ++i)
                             sum += row[i], sum_squares += double{row[i]} * row[i];
                           const auto n = static_cast<double>(logits.shape[1]);
                           squares += sum_squares / n - sum / n * (sum / n);
                         }
                         return ok();
                       })
               .has_value());
  const double spread = squares / static_cast<double>(rows), r = 0.125 / std::sqrt(24.0);
  const double bound = r * r * static_cast<double>(engine->config().layers) * spread;
  const double cost = std::log(narrow.ppl() / wide.ppl());
  std::printf("perplexity %.5f with e4m3 keys and values, %.5f with bf16: ln ratio %+.5f, bound %.5f\n", narrow.ppl(),
              wide.ppl(), cost, bound);
  EXPECT_NE(cost, 0);
  EXPECT_LT(std::abs(cost), bound);
}

// And what is computed is what the codes say: as by the oracle, whose stores and loads of codes are exact. In fp32 both
// round the same values to codes, but where they differ in a float's last bits about the middle of two codes.
TEST_F(DemoText, Fp8KeysAndValuesAreThoseOfTheOracle) {
  const EngineOptions options{.precision = Precision::f32,
                              .kv_cache = engine::KvCacheType::fp8,
                              .max_context = 64,
                              .max_seqs = 1,
                              .step_tokens = 64};
  constexpr std::int64_t kTokens = 126;
  const Windowing how{.window = 64, .bos = 0};
  const TestBackend reference(true);
  ASSERT_VALUE(const Perplexity fast, score(options, kTokens, how));
  ASSERT_VALUE(const auto oracle, engine::make_engine("demo", *reference, options));
  ASSERT_VALUE(const Perplexity exact, perplexity(*oracle, std::span(ids).first(kTokens), how));
  EXPECT_NEAR(fast.ppl() / exact.ppl(), 1, 0.003);
}

// Windows of w tokens with BOS score every token; without, the first of each is context.
TEST_F(DemoText, WindowsScoreTheTokensTheySay) {
  const EngineOptions options{.precision = Precision::f32, .max_context = 64, .max_seqs = 1};
  constexpr std::pair<int, int> kCases[] = {{16, 45}, {16, 46}, {16, 44}, {2, 5}, {65, 200}};
  for (const auto& [window, tokens] : kCases) {
    ASSERT_VALUE(const Perplexity with, score(options, tokens, {.window = window, .bos = 0}));
    EXPECT_EQ(with.tokens, tokens) << window;
    ASSERT_VALUE(const Perplexity without, score(options, tokens, {.window = window}));
    EXPECT_EQ(without.tokens, tokens - (tokens + window - 1) / window) << window << " " << tokens;
  }
  // A window does not see the one before it.
  ASSERT_VALUE(const Perplexity both, score(options, 30, {.window = 16, .bos = 0}));
  ASSERT_VALUE(const Perplexity first, score(options, 15, {.window = 16, .bos = 0}));
  ids.erase(ids.begin(), ids.begin() + 15);
  ASSERT_VALUE(const Perplexity second, score(options, 15, {.window = 16, .bos = 0}));
  EXPECT_NEAR(both.nll, first.nll + second.nll, 1e-9);
}

TEST_F(DemoText, RefusesByRule) {
  const EngineOptions options{.max_context = 64, .max_seqs = 1};
  EXPECT_EQ(score(options, 0, {.window = 16, .bos = 0}).error().rule, "quality.tokens");
  EXPECT_EQ(score(options, 1, {.window = 16}).error().rule, "quality.tokens");
  EXPECT_EQ(score(options, 9, {.window = 66, .bos = 0}).error().rule, "quality.window");
  EXPECT_EQ(score(options, 9, {.window = 1, .bos = 0}).error().rule, "quality.window");
  ids[3] = 4096;
  EXPECT_EQ(score(options, 9, {.window = 16, .bos = 0}).error().rule, "quality.token_id");
}

}  // namespace
}  // namespace rl::quality
