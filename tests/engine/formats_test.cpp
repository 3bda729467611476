// Every number format on the demo model: how far its logits are from fp32's, what its weights take, and its text.

#include "base/checked.h"
#include "fixture.h"

namespace rl::engine {
namespace {

// ||logits - fp32's|| / ||fp32's||, as it was when each format was added (0 for fp32); a test allows half to twice of
// it. No bound is derived: how far 8 bits carry depends on how the largest value of a row compares with the others. It
// is there to show a format that is not applied (0) and a wrong scale, code or order of columns (some 1).
struct Declared {
  const char* format;
  double error;
};
constexpr Declared kDeclared[] = {
    {"bf16", 0.0053}, {"fp16", 0.00083},     {"int8", 0.065},      {"int8-wo", 0.018},
    {"fp8", 0.061},   {"fp8-tensor", 0.072}, {"fp8-block", 0.062}, {"fp8-wo", 0.043},
};

class DemoFormats : public testing::Test {
 protected:
  TestBackend backend{false};
  PoisoningResource memory{host_memory()};
  std::vector<TokenId> ids;
  std::vector<TokenId> greedy;  // fp32's, by the reference

  void SetUp() override {
    ASSERT_VALUE(const Golden golden, Golden::open(demo_folder()));
    ids = golden.ids("prompt0.input_ids");
    const std::vector<TokenId> all = golden.ids("prompt0.greedy_ids");
    greedy.assign(all.begin() + std::ssize(ids), all.end());
  }
  Result<std::unique_ptr<Engine>> make(const std::string& name) {
    RL_ASSIGN(const NumberFormat format, format_from(name));
    return make_engine("demo", *backend,
                       {.precision = format.precision, .weights = format.weights, .max_context = 256, .max_seqs = 1},
                       memory);
  }
  Result<std::vector<float>> logits_of(Engine& engine) {
    std::vector<float> logits;
    RL_TRY(engine.score(ids, [&](std::int64_t, const TensorRef& part) -> Status {
      logits.insert(logits.end(), part.as<const float>(), part.as<const float>() + part.elements());
      return ok();
    }));
    return logits;
  }
};

TEST_F(DemoFormats, LogitsStayWithinTheirRoundingAndTextGoesOn) {
  ASSERT_VALUE(const auto exact, make("fp32"));
  ASSERT_VALUE(const std::vector<float> base, logits_of(*exact));
  std::map<std::string, double> errors;
  for (const auto& [name, declared] : kDeclared) {
    SCOPED_TRACE(name);
    ASSERT_VALUE(const auto engine, make(name));
    ASSERT_VALUE(const std::vector<float> logits, logits_of(*engine));
    ASSERT_EQ(logits.size(), base.size());
    double noise = 0, signal = 0;
    for (std::size_t i = 0; i < base.size(); ++i) {
      ASSERT_TRUE(std::isfinite(logits[i])) << i;
      noise += std::pow(static_cast<double>(logits[i] - base[i]), 2);
      signal += std::pow(static_cast<double>(base[i]), 2);
    }
    const double error = errors[name] = std::sqrt(noise / signal);
    EXPECT_GT(error, declared / 2);
    EXPECT_LT(error, declared * 2);

    const Request request{.prompt = ids, .max_tokens = std::ssize(greedy)};
    ASSERT_VALUE(const auto text, run_all(*engine, {request}));
    ASSERT_EQ(text[0].size(), greedy.size());
    ASSERT_VALUE(const auto again, run_all(*engine, {request}));
    EXPECT_EQ(text, again);
    if (std::string_view(name) == "fp16") {
      EXPECT_EQ(text[0], greedy) << "as close as this, the text is fp32's";
    }
  }
  EXPECT_EQ(errors.size() + 1, formats().size()) << "every format is looked at";
  EXPECT_LT(errors["fp16"], errors["bf16"] / 3) << "activations of fp16 have three bits more than bf16's";
  EXPECT_LT(errors["int8-wo"], errors["int8"]);
  EXPECT_LT(errors["fp8-wo"], errors["fp8"]);
}

// Layers shrink to a byte an element and its scales; the tied table of 16 bits stays, and the cache is 16 bits wide.
TEST_F(DemoFormats, TheMemoryPlanCountsWhatTheFormatTakes) {
  ASSERT_VALUE(const auto wide, make("bf16"));
  const model::ModelConfig& c = wide->config();
  ASSERT_TRUE(c.tied_head);
  const std::int64_t q = c.heads * c.head_dim, qkv = q + 2 * c.kv_heads * c.head_dim;
  const std::pair<std::int64_t, std::int64_t> matrices[] = {
      {qkv, c.hidden}, {c.hidden, q}, {2 * c.ffn, c.hidden}, {c.hidden, c.ffn}};
  std::int64_t elements = 0, row_scales = 0, block_scales = 0;  // bytes of scales, in whole allocation units
  for (const auto& [rows, cols] : matrices) {
    ASSERT_TRUE(rows % 128 == 0 && cols % 128 == 0) << "nothing is padding";
    elements += c.layers * rows * cols;
    row_scales += c.layers * round_up(4 * rows, kAlignment);
    block_scales += c.layers * round_up(4 * (rows / 128) * (cols / 128), kAlignment);
  }
  for (const NumberFormat& format : formats()) {
    SCOPED_TRACE(format.name);
    ASSERT_VALUE(const auto engine, make(format.name));
    const std::int64_t saved = (wide->memory_plan().of("weights") - engine->memory_plan().of("weights")).count;
    std::int64_t expected = 0;
    if (format.name == "fp32") expected = -2 * (elements + c.vocab * c.hidden);
    if (size_of(quant::element_type(format.weights.layers)) == 1)
      expected = elements - (format.name == "fp8-block" ? block_scales : row_scales);
    EXPECT_EQ(saved, expected);
    EXPECT_EQ(wide->kv_bytes_per_token().count * (format.name == "fp32" ? 2 : 1), engine->kv_bytes_per_token().count);
    EXPECT_EQ((wide->weight_bytes_per_token() - engine->weight_bytes_per_token()).count, saved) << "the head is read";
  }
}

}  // namespace
}  // namespace rl::engine
