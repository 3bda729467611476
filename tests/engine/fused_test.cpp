// The binder's fusion of a product with the ops around it: on the processor, by a variant that runs them one after the
// other, so that every request has the tokens it has without fusion.

#include <fstream>
#include <set>

#include <unistd.h>

#include "cpu/fast/cpu_device.h"
#include "engine/fixture.h"
#include "selftest/check_fused.h"

namespace rl::engine {
namespace {

constexpr std::int64_t kMostTokens = 2;

template <bool kNorm, bool kAfter>
Status supports(const ops::FusedLinearArgs& args, const Arch&) {
  const bool after = args.silu_mul || args.rope_append, headed = args.rope_append && args.rope_append->q_norm;
  if (args.norm.has_value() == kNorm && after == kAfter && !headed && args.product.x.shape[0] <= kMostTokens)
    return ok();
  return Error{.kind = ErrorKind::unsupported, .what = "not fused"};
}
Bytes workspace(const ops::FusedLinearArgs&) { return {}; }
Status launch(const ops::FusedLinearArgs& args, void*, Stream& stream) {
  RL_TRY(validate(args));
  return selftest::detail::launch_parts(cpu::catalog(), args, {.arch = cpu::detect_arch(), .stream = stream});
}
constexpr ops::Facts kFacts{.deterministic = true, .batch_invariant = true};
constexpr ops::Variant<ops::FusedLinearArgs> kFused[] = {
    {"fused_linear/test.both", kFacts, supports<true, true>, workspace, launch},
    {"fused_linear/test.norm", kFacts, supports<true, false>, workspace, launch},
    {"fused_linear/test.after", kFacts, supports<false, true>, workspace, launch},
};

using Force = std::map<std::string, std::string>;

struct Fused : testing::TestWithParam<const char*> {
  const TestBackend plain{false};
  ops::Backend fusing = *plain;
  Fused() { fusing.catalog.fused_linear = kFused; }

  // The path of a request's steps whose tokens are those without fusion.
  std::set<std::string> path_of(const EngineOptions& options, const Force& force = {}) {
    const auto golden = Golden::open(folder_of(GetParam()));
    EXPECT_TRUE(golden.has_value());
    std::vector<Request> requests;
    for (const int n : {64, 7})
      requests.push_back({.prompt = golden->ids(fmt::format("len{}.input_ids", n)), .max_tokens = 20});
    EngineOptions forced = options;
    forced.force = force;
    std::vector<std::vector<TokenId>> tokens[2];
    std::vector<std::string> path;
    for (const bool fused : {false, true}) {
      const auto engine = make_engine(GetParam(), fused ? fusing : *plain, forced);
      EXPECT_TRUE(engine.has_value()) << engine.error().message();
      if (!engine) return {};
      const auto done = run_all(**engine, requests);
      EXPECT_TRUE(done.has_value());
      if (!done) return {};
      tokens[fused] = *done;
      path = (*engine)->path();
    }
    EXPECT_EQ(tokens[0], tokens[1]);
    return {path.begin(), path.end()};
  }
};

const EngineOptions kOptions{.precision = Precision::bf16, .max_context = 128, .max_seqs = 2, .step_tokens = 64};

TEST_P(Fused, StepsOfFewTokensHaveTheTokensOfTheOpsOneByOne) {
  const std::set<std::string> path = path_of(kOptions);
  const bool headed = std::string_view(GetParam()) == "qwen3";
  EXPECT_TRUE(path.contains(headed ? "qkv: fused_linear/test.norm" : "qkv: fused_linear/test.both"));
  EXPECT_TRUE(path.contains("gate_up: fused_linear/test.both"));
  EXPECT_TRUE(path.contains("head: fused_linear/test.norm"));
  const auto has = [&](std::string_view site, std::string_view op) {
    return std::any_of(path.begin(), path.end(),
                       [&](const std::string& line) { return line.starts_with(site) && line.find(op) != line.npos; });
  };
  EXPECT_TRUE(has("gate_up", " silu_mul/")) << "steps of many tokens";
  EXPECT_TRUE(has("attention_norm", " rms_norm/"));
}

TEST_P(Fused, AForcedVariantIsNotTakenIn) {
  const auto fused = [](const std::set<std::string>& path, std::string_view name) {
    return std::any_of(path.begin(), path.end(), [&](const std::string& line) { return line.find(name) != line.npos; });
  };
  EXPECT_FALSE(fused(path_of(kOptions, {{"linear", "linear/cpu.ref"}}), "fused_linear/"));
  const std::set<std::string> norm = path_of(kOptions, {{"rms_norm", "rms_norm/cpu.ref"}});
  EXPECT_TRUE(norm.contains("gate_up: fused_linear/test.after"));
  EXPECT_FALSE(fused(norm, "test.both"));
  const std::set<std::string> silu = path_of(kOptions, {{"silu_mul", "silu_mul/cpu.ref"}});
  EXPECT_TRUE(silu.contains("gate_up: fused_linear/test.norm"));
  EXPECT_TRUE(silu.contains("gate_up: silu_mul/cpu.ref"));
}

TEST_P(Fused, AForcedWayToFuseIsTheOnlyOne) {
  const auto one_way =
      make_engine(GetParam(), fusing, {.max_context = 128, .force = {{"fused_linear", "fused_linear/test.norm"}}});
  ASSERT_TRUE(one_way.has_value()) << one_way.error().message();
  const auto unknown =
      make_engine(GetParam(), fusing, {.max_context = 128, .force = {{"fused_linear", "fused_linear/none"}}});
  ASSERT_FALSE(unknown.has_value());
  EXPECT_EQ(unknown.error().kind, ErrorKind::usage);
}

INSTANTIATE_TEST_SUITE_P(Models, Fused, testing::Values("llama2", "qwen2", "qwen3"),
                         [](const auto& param) { return std::string(param.param); });

// What a product is timed behind: behind RoPE and attention, which cannot run before there is a step, the product
// before them, fused with RoPE or not.
TEST(Measured, ProductsAreTimedBehindWhatComesBeforeThemInAStep) {
  const TestBackend plain{false};
  for (const bool fuses : {false, true}) {
    ops::Backend backend = *plain;
    if (fuses) backend.catalog.fused_linear = kFused;
    const auto file = std::filesystem::path(testing::TempDir()) / fmt::format("measured-{}-{}", ::getpid(), fuses);
    ops::Choices choices(file, "this machine");
    backend.choices = &choices;
    ASSERT_VALUE(const auto engine, make_engine("llama2", backend, kOptions));
    ASSERT_VALUE(const auto golden, Golden::open(folder_of("llama2")));
    ASSERT_OK(run_all(*engine, {{.prompt = golden.ids("len7.input_ids"), .max_tokens = 3}}));
    std::ifstream stream(file);
    const std::string text{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
    std::filesystem::remove(file);
    EXPECT_THAT(text, testing::ContainsRegex(", adds, after linear/cpu[^,]*, of ")) << "attention_out";
    EXPECT_THAT(text, testing::ContainsRegex(fuses ? ", adds, after fused_linear/" : ", adds, after silu_mul/"))
        << "down";
  }
}

}  // namespace
}  // namespace rl::engine
