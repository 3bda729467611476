// Every fixture model against transformers' logits, greedy tokens and perplexity, through cpu/ref and cpu/fast, over
// memory filled with NaN: a value read before it is written would show.

#include "engine/fixture.h"
#include "quality/perplexity.h"

namespace rl::engine {
namespace {

using Param = std::tuple<std::string, bool>;  // model, reference backend

struct Parity : testing::TestWithParam<Param> {
  std::string model = std::get<0>(GetParam());
  TestBackend backend{std::get<1>(GetParam())};
  PoisoningResource memory{host_memory()};
  std::vector<int> lengths{1, 7, 64, 130};

  static std::string key(int n, const char* what) { return "len" + std::to_string(n) + "." + what; }
};

TEST_P(Parity, Fp32LogitsAreWithinTheManifestsTolerance) {
  ASSERT_VALUE(const Golden golden, Golden::open(folder_of(model)));
  for (const std::int64_t step_tokens : {512, 48}) {
    ASSERT_VALUE(
        const auto engine,
        make_engine(model, *backend,
                    {.precision = Precision::f32, .max_context = 256, .max_seqs = 4, .step_tokens = step_tokens},
                    memory));
    for (const int n : lengths) {
      ASSERT_VALUE(const double difference,
                   largest_difference(*engine, golden.ids(key(n, "input_ids")), golden.floats(key(n, "logits"))));
      EXPECT_LE(difference, tolerance_of(model)) << n << " tokens in chunks of " << step_tokens;
    }
  }
}

// All prompts in one batch: decodes of some beside prefill chunks of others, from the paged cache.
TEST_P(Parity, GreedyTokensAreIdenticalInABatchAndWithChunkedPrefill) {
  ASSERT_VALUE(const Golden golden, Golden::open(folder_of(model)));
  std::vector<Request> requests;
  for (const int n : lengths) requests.push_back({.prompt = golden.ids(key(n, "input_ids")), .max_tokens = 32});
  for (const std::int64_t step_tokens : {512, 16}) {
    ASSERT_VALUE(
        const auto engine,
        make_engine(model, *backend,
                    {.precision = Precision::f32, .max_context = 256, .max_seqs = 4, .step_tokens = step_tokens},
                    memory));
    ASSERT_VALUE(const auto tokens, run_all(*engine, requests));
    for (std::size_t i = 0; i < lengths.size(); ++i)
      EXPECT_EQ(tokens[i], golden.ids(key(lengths[i], "greedy_new_ids"))) << lengths[i] << ", steps of " << step_tokens;
  }
}

TEST_P(Parity, PerplexityIsTransformers) {
  ASSERT_VALUE(const Golden golden, Golden::open(folder_of(model)));
  ASSERT_VALUE(const auto engine,
               make_engine(model, *backend, {.precision = Precision::f32, .max_context = 256}, memory));
  ASSERT_VALUE(const auto result, quality::perplexity(*engine, golden.ids("ppl.input_ids"), {.window = 256}));
  EXPECT_EQ(result.tokens, 255);
  // The mean of 255 errors of at most the logits' tolerance each, twice (the token's logit and the normaliser).
  EXPECT_NEAR(std::log(result.ppl()), std::log(perplexity_of(model)), 2 * tolerance_of(model));
}

// bf16 has 8 bits: each of the few dozen roundings on the way moves a value by up to 2^-9 of it.
TEST_P(Parity, Bf16IsClose) {
  ASSERT_VALUE(const Golden golden, Golden::open(folder_of(model)));
  ASSERT_VALUE(const auto engine,
               make_engine(model, *backend, {.precision = Precision::bf16, .max_context = 256}, memory));
  ASSERT_VALUE(const auto result, quality::perplexity(*engine, golden.ids("ppl.input_ids"), {.window = 256}));
  EXPECT_NEAR(std::log(result.ppl()), std::log(perplexity_of(model)), 0.02);
  ASSERT_VALUE(const double difference,
               largest_difference(*engine, golden.ids("len64.input_ids"), golden.floats("len64.logits")));
  EXPECT_LE(difference, 0.5);
  EXPECT_GT(difference, tolerance_of(model)) << "this is not bf16";
}

std::string name_of_case(const testing::TestParamInfo<Param>& param) {
  std::string name = std::get<0>(param.param);
  std::erase(name, '-');
  return name + (std::get<1>(param.param) ? "_ref" : "_fast");
}
INSTANTIATE_TEST_SUITE_P(Models, Parity,
                         testing::Combine(testing::ValuesIn(std::vector<std::string>(std::begin(kFixtureModels),
                                                                                     std::end(kFixtureModels))),
                                          testing::Bool()),
                         name_of_case);

struct DemoParity : testing::Test {
  TestBackend backend{false};
  PoisoningResource memory{host_memory()};
};

TEST_F(DemoParity, LogitsAndGreedyTokens) {
  ASSERT_VALUE(const Golden golden, Golden::open(demo_folder()));
  ASSERT_VALUE(const auto engine,
               make_engine("demo", *backend, {.precision = Precision::f32, .max_context = 512}, memory));
  std::vector<Request> requests;
  std::vector<std::vector<TokenId>> expected;
  for (int i = 0; golden.has(fmt::format("prompt{}.input_ids", i)); ++i) {
    const std::vector<TokenId> ids = golden.ids(fmt::format("prompt{}.input_ids", i));
    ASSERT_VALUE(const double difference,
                 largest_difference(*engine, ids, golden.floats(fmt::format("prompt{}.logits", i))));
    EXPECT_LE(difference, 1e-3) << i;
    const std::vector<TokenId> all = golden.ids(fmt::format("prompt{}.greedy_ids", i));
    expected.emplace_back(all.begin() + std::ssize(ids), all.end());
    requests.push_back({.prompt = ids, .max_tokens = std::ssize(expected.back())});
  }
  ASSERT_EQ(requests.size(), 3u);
  ASSERT_VALUE(const auto tokens, run_all(*engine, requests));
  EXPECT_EQ(tokens, expected);
}

}  // namespace
}  // namespace rl::engine
