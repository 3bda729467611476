#include "model/synthetic.h"

#include <numeric>

#include "check/result.h"
#include "model/save_model.h"
#include "model/weight_names.h"
#include "model_files.h"
#include "num/convert.h"

namespace rl::model {
namespace {

// A small model with every kind of tensor.
ModelConfig tiny(Family family) {
  ModelConfig c{.family = family,
                .hidden = 96,
                .ffn = 160,
                .layers = 3,
                .heads = 6,
                .kv_heads = 2,
                .head_dim = 32,
                .vocab = 5000,
                .max_positions = 256};
  c.tied_head = family == Family::qwen3;
  c.qk_norm = family == Family::qwen3;
  c.qkv_bias = family == Family::qwen2;
  c.bos = 0;
  c.eos = {1};
  return c;
}

std::vector<float> values(const ModelSource& source, const std::string& name) {
  std::vector<std::byte> scratch;
  const auto rows = source.weights->rows(name, 0, source.weights->tensors().at(name).shape[0], scratch);
  RL_CHECK_MSG(rows.has_value(), name);
  std::vector<float> out;
  for (std::int64_t i = 0; i < rows->elements(); ++i) out.push_back(num::to_float(rows->as<const num::bf16>()[i]));
  return out;
}

struct Moments {
  double mean = 0, deviation = 0, neighbours = 0;  // correlation of element i with i + 1
};
Moments moments(const std::vector<float>& x) {
  Moments m;
  const auto n = static_cast<double>(x.size());
  for (const float v : x) m.mean += v / n;
  double variance = 0, product = 0;
  for (std::size_t i = 0; i < x.size(); ++i) variance += (x[i] - m.mean) * (x[i] - m.mean) / n;
  for (std::size_t i = 0; i + 1 < x.size(); ++i) product += (x[i] - m.mean) * (x[i + 1] - m.mean) / n;
  m.deviation = std::sqrt(variance);
  m.neighbours = product / variance;
  return m;
}

TEST(Synthetic, NumbersHaveTheScaleOfTheirRole) {
  ASSERT_VALUE(const ModelSource source, synthetic_model("tiny", tiny(Family::qwen2)));
  const auto expect = [&](const std::string& name, double mean, double deviation) {
    const std::vector<float> x = values(source, name);
    const Moments m = moments(x);
    const double n = static_cast<double>(x.size());
    // Five standard errors; bf16 rounding moves single values by 0.2% without bias.
    EXPECT_NEAR(m.mean, mean, 5 * deviation / std::sqrt(n) + 0.001 * std::abs(mean)) << name;
    EXPECT_NEAR(m.deviation, deviation, deviation * (5 / std::sqrt(2 * n) + 0.005)) << name;
    EXPECT_LT(std::abs(m.neighbours), 5 / std::sqrt(n) + 0.001) << name;
  };
  expect(kEmbeddingName, 0, 1 / std::sqrt(96.0));
  expect(kHeadName, 0, 1 / std::sqrt(96.0));
  expect("model.layers.1.self_attn.q_proj.weight", 0, 1 / std::sqrt(96.0));
  expect("model.layers.1.mlp.gate_proj.weight", 0, 1 / std::sqrt(96.0));
  expect("model.layers.1.self_attn.o_proj.weight", 0, 1 / std::sqrt(2.0 * 3 * 192));
  expect("model.layers.1.mlp.down_proj.weight", 0, 1 / std::sqrt(2.0 * 3 * 160));
  expect("model.layers.1.input_layernorm.weight", 1, 0.1);
  expect("model.layers.1.self_attn.q_proj.bias", 0, 0.1);
}

TEST(Synthetic, TensorsSeedsAndBlocksDiffer) {
  ASSERT_VALUE(const ModelSource a, synthetic_model("tiny", tiny(Family::llama)));
  ASSERT_VALUE(const ModelSource b, synthetic_model("tiny", tiny(Family::llama)));
  ASSERT_VALUE(const ModelSource other, synthetic_model("tiny", tiny(Family::llama), 2));
  const std::string q0 = "model.layers.0.self_attn.q_proj.weight", q1 = "model.layers.1.self_attn.q_proj.weight";
  const auto x = values(a, q0);
  EXPECT_EQ(x, values(b, q0));
  EXPECT_EQ(a.fingerprint, b.fingerprint);
  EXPECT_NE(a.fingerprint, other.fingerprint);
  const auto correlation = [&](const std::vector<float>& y) {
    return std::inner_product(x.begin(), x.end(), y.begin(), 0.0) /
           std::inner_product(x.begin(), x.end(), x.begin(), 0.0);
  };
  const double bound = 5 / std::sqrt(static_cast<double>(x.size()));
  EXPECT_LT(std::abs(correlation(values(a, q1))), bound);
  EXPECT_LT(std::abs(correlation(values(other, q0))), bound);
  // 5000 x 96 elements are more than seven blocks of 2^16 under keys of their own.
  const auto e = values(a, kEmbeddingName);
  std::vector<float> first(e.begin(), e.begin() + 65536), second(e.begin() + 65536, e.begin() + 131072);
  EXPECT_LT(std::abs(std::inner_product(first.begin(), first.end(), second.begin(), 0.0) * 96 / 65536), 5.0 / 256);
}

TEST(Synthetic, AnElementIsAFunctionOfItsIndexAlone) {
  std::vector<std::uint16_t> all(200'000), piece(1000);
  generate_bf16(1, 2, 0, std::ssize(all), 1, 0, all.data());
  for (const std::int64_t first : {0, 1, 65'000, 65'535, 65'536, 130'999, 199'000}) {
    generate_bf16(1, 2, first, 1000, 1, 0, piece.data());
    EXPECT_TRUE(std::equal(piece.begin(), piece.end(), all.begin() + first)) << first;
  }
  // From the same steps in Python: a change of these numbers must change the fingerprint's word too.
  EXPECT_EQ(std::vector<std::uint16_t>(all.begin(), all.begin() + 4),
            (std::vector<std::uint16_t>{16024, 48938, 48644, 48727}));
  std::vector<std::byte> scratch;
  ASSERT_VALUE(const ModelSource source, synthetic_model("tiny", tiny(Family::llama)));
  const auto q = values(source, "model.layers.2.mlp.up_proj.weight");
  ASSERT_VALUE(const TensorRef row, source.weights->rows("model.layers.2.mlp.up_proj.weight", 77, 1, scratch));
  EXPECT_EQ(num::to_float(row.as<const num::bf16>()[13]), q[77 * 96 + 13]);
  EXPECT_EQ(source.weights->rows("model.layers.2.mlp.up_proj.weight", 160, 1, scratch).error().rule, "weights.rows");
  EXPECT_EQ(source.weights->rows("nothing", 0, 1, scratch).error().rule, "weights.missing");
}

TEST(SaveModel, ASavedModelLoadsWithTheSameNumbers) {
  for (const Family family : {Family::llama, Family::mistral, Family::qwen2, Family::qwen3}) {
    for (const std::int64_t shard_bytes : {std::int64_t{4} << 30, std::int64_t{300'000}}) {
      if (shard_bytes == 300'000 && family != Family::llama) continue;
      SCOPED_TRACE(fmt::format("{} {}", name_of(family), shard_bytes));
      const TemporaryFolder folder;
      const auto target = folder.path() / "new" / "model";
      ASSERT_VALUE(const ModelSource source, synthetic_model("tiny", tiny(family)));
      ASSERT_OK(save_model_in_shards(source, target, {shard_bytes}));
      EXPECT_EQ(std::filesystem::exists(target / "model.safetensors"), shard_bytes > 300'000);
      EXPECT_EQ(std::filesystem::exists(target / "model.safetensors.index.json"), shard_bytes == 300'000);
      EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path() / "new"), {}), 1) << "left-overs";
      ASSERT_VALUE(const ModelSource again, find_model(target));
      EXPECT_TRUE(again.warnings.empty());
      EXPECT_EQ(write_config(again.config), write_config(source.config));
      ASSERT_EQ(again.weights->tensors().size(), source.weights->tensors().size());
      for (const auto& [name, info] : source.weights->tensors())
        EXPECT_EQ(values(again, name), values(source, name)) << name;
      EXPECT_EQ(read_text(target / "tokenizer.json"), read_text(fixture("demo") + "/tokenizer.json"));
      EXPECT_TRUE(std::filesystem::exists(target / "generation_config.json"));
      EXPECT_TRUE(std::filesystem::exists(target / "tokenizer_config.json"));
      for (const auto& entry : std::filesystem::directory_iterator(target)) {
        const bool shard = shard_bytes == 300'000 && entry.path().extension() == ".safetensors";
        EXPECT_TRUE(!shard || entry.file_size() < 1'000'000) << "only the embedding, 960 kB, is larger than a shard";
      }
    }
  }
}

TEST(SaveModel, AFolderModelKeepsItsOwnFiles) {
  const TemporaryFolder folder;
  ASSERT_VALUE(const ModelSource source, find_model(fixture("qwen3")));
  ASSERT_OK(save_model(source, folder.path() / "copy/"));
  for (const char* file : {"config.json", "tokenizer.json", "generation_config.json", "tokenizer_config.json"})
    EXPECT_EQ(read_text(folder.path() / "copy" / file), read_text(fixture("qwen3") + "/" + file));
  ASSERT_VALUE(const ModelSource copy, find_model(folder.path() / "copy"));
  for (const auto& [name, info] : source.weights->tensors())
    EXPECT_EQ(values(copy, name), values(source, name)) << name;
}

TEST(SaveModel, WritesAllOrNothing) {
  const TemporaryFolder folder;
  ASSERT_VALUE(ModelSource source, synthetic_model("tiny", tiny(Family::llama)));
  folder.write("taken/file", "mine");
  EXPECT_EQ(save_model(source, folder.path() / "taken").error().rule, "save.exists");
  EXPECT_EQ(read_text(folder.path() / "taken/file"), "mine");
  EXPECT_EQ(save_model(source, folder.path() / "taken/file").error().rule, "save.exists");

  // A source that fails half-way.
  class Failing final : public WeightSource {
   public:
    explicit Failing(std::unique_ptr<WeightSource> source) : source_(std::move(source)) {}
    const std::map<std::string, Info>& tensors() const override { return source_->tensors(); }
    Result<TensorRef> rows(const std::string& name, std::int64_t first, std::int64_t n,
                           std::vector<std::byte>& scratch) const override {
      if (name == "model.layers.1.mlp.up_proj.weight") return Error{.kind = ErrorKind::io, .what = "planted"};
      return source_->rows(name, first, n, scratch);
    }

   private:
    std::unique_ptr<WeightSource> source_;
  };
  source.weights = std::make_unique<Failing>(std::move(source.weights));
  EXPECT_EQ(save_model(source, folder.path() / "new").error().what, "planted");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1) << "only what was there";
}

}  // namespace
}  // namespace rl::model
