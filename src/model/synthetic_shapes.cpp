// The shapes of published models, from their config.json.

#include "model/synthetic.h"

namespace rl::model {
namespace {

struct Shape {
  const char* name;
  ModelConfig config;
};

// The demo tokenizer goes with every generated model: its begin and end tokens.
constexpr TokenId kBos = 0, kEos = 1;

std::vector<Shape> shapes() {
  const RopeConfig llama3_2{.type = RopeConfig::Type::llama3,
                            .theta = 500000,
                            .factor = 32,
                            .low_freq_factor = 1,
                            .high_freq_factor = 4,
                            .original_max_positions = 8192};
  std::vector<Shape> list = {
      // meta-llama/Meta-Llama-3-8B
      {"llama-3-8b",
       {.family = Family::llama,
        .hidden = 4096,
        .ffn = 14336,
        .layers = 32,
        .heads = 32,
        .kv_heads = 8,
        .head_dim = 128,
        .vocab = 128256,
        .max_positions = 8192,
        .rms_norm_eps = 1e-5,
        .rope = {.theta = 500000}}},
      // meta-llama/Llama-2-7b-hf
      {"llama-2-7b",
       {.family = Family::llama,
        .hidden = 4096,
        .ffn = 11008,
        .layers = 32,
        .heads = 32,
        .kv_heads = 32,
        .head_dim = 128,
        .vocab = 32000,
        .max_positions = 4096,
        .rms_norm_eps = 1e-5,
        .rope = {.theta = 10000}}},
      // meta-llama/Llama-3.2-1B
      {"llama-3.2-1b",
       {.family = Family::llama,
        .hidden = 2048,
        .ffn = 8192,
        .layers = 16,
        .heads = 32,
        .kv_heads = 8,
        .head_dim = 64,
        .vocab = 128256,
        .max_positions = 131072,
        .rms_norm_eps = 1e-5,
        .rope = llama3_2,
        .tied_head = true}},
      // mistralai/Mistral-7B-v0.1
      {"mistral-7b",
       {.family = Family::mistral,
        .hidden = 4096,
        .ffn = 14336,
        .layers = 32,
        .heads = 32,
        .kv_heads = 8,
        .head_dim = 128,
        .vocab = 32000,
        .max_positions = 32768,
        .rms_norm_eps = 1e-5,
        .rope = {.theta = 10000},
        .sliding_window = 4096}},
      // Qwen/Qwen3-8B
      {"qwen3-8b",
       {.family = Family::qwen3,
        .hidden = 4096,
        .ffn = 12288,
        .layers = 36,
        .heads = 32,
        .kv_heads = 8,
        .head_dim = 128,
        .vocab = 151936,
        .max_positions = 40960,
        .rms_norm_eps = 1e-6,
        .rope = {.theta = 1000000},
        .qk_norm = true}},
      // Qwen/Qwen3-0.6B
      {"qwen3-0.6b",
       {.family = Family::qwen3,
        .hidden = 1024,
        .ffn = 3072,
        .layers = 28,
        .heads = 16,
        .kv_heads = 8,
        .head_dim = 128,
        .vocab = 151936,
        .max_positions = 40960,
        .rms_norm_eps = 1e-6,
        .rope = {.theta = 1000000},
        .tied_head = true,
        .qk_norm = true}},
  };
  for (Shape& shape : list) {
    shape.config.bos = kBos;
    shape.config.eos = {kEos};
  }
  return list;
}

}  // namespace

std::vector<std::string> synthetic_names() {
  std::vector<std::string> names;
  for (const Shape& shape : shapes()) names.push_back(shape.name);
  return names;
}

Result<ModelSource> synthetic_named(const std::string& name) {
  std::string known;
  for (const Shape& shape : shapes()) {
    if (shape.name == name) return synthetic_model("synthetic:" + name, shape.config);
    known += fmt::format("{}synthetic:{}", known.empty() ? "" : ", ", shape.name);
  }
  return Error{.kind = ErrorKind::invalid_input,
               .what = fmt::format("there is no synthetic model '{}'", name),
               .rule = "model.unknown_synthetic",
               .expected = known,
               .found = "synthetic:" + name};
}

}  // namespace rl::model
