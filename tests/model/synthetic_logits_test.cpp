// Generated models compute: activations neither die nor explode on the way to the logits.

#include "check/result.h"
#include "cpu/fast/cpu_device.h"
#include "engine/engine.h"
#include "model/synthetic.h"

namespace rl::model {
namespace {

ModelConfig shape(Family family, std::int64_t layers) {
  ModelConfig c{.family = family,
                .hidden = 128,
                .ffn = 384,
                .layers = layers,
                .heads = 4,
                .kv_heads = 2,
                .head_dim = 32,
                .vocab = 1000,
                .max_positions = 128};
  c.tied_head = family == Family::qwen3;
  c.qk_norm = family == Family::qwen3;
  c.qkv_bias = family == Family::qwen2;
  c.sliding_window = family == Family::mistral ? 16 : 0;
  return c;
}

// The head's rows have variance 1/hidden and the final norm's output 1 (and 0.1 from the norm's weights): logits have
// deviation 1, give or take what a thousand of them scatter.
TEST(SyntheticLogits, HaveDeviationOneAtAnyDepth) {
  const auto device = cpu::make_device({});
  const ops::Backend backend{.name = "fast", .device = device.get(), .catalog = cpu::catalog()};
  std::vector<TokenId> ids;
  for (TokenId id = 0; id < 40; ++id) ids.push_back(id * 23 % 1000);
  for (const Family family : {Family::llama, Family::mistral, Family::qwen2, Family::qwen3}) {
    for (const std::int64_t layers : {1, 24}) {
      SCOPED_TRACE(fmt::format("{} with {} layers", name_of(family), layers));
      ASSERT_VALUE(const ModelSource source, synthetic_model("tiny", shape(family, layers)));
      ASSERT_VALUE(const auto engine,
                   engine::Engine::make(source, backend, host_memory(),
                                        {.precision = engine::Precision::f32, .max_context = 64, .max_seqs = 1}));
      double squares = 0;
      std::int64_t count = 0;
      ASSERT_OK(engine->score(ids, [&](std::int64_t, const TensorRef& logits) -> Status {
        for (std::int64_t i = 0; i < logits.elements(); ++i) {
          const double x = logits.as<const float>()[i];
          squares += x * x;
          ++count;
        }
        return ok();
      }));
      EXPECT_EQ(count, 40 * 1000);
      EXPECT_NEAR(std::sqrt(squares / static_cast<double>(count)), 1, 0.1);
    }
  }
}

}  // namespace
}  // namespace rl::model
