#include "base/checked.h"
#include "check/result.h"
#include "device/memory.h"
#include "model/embedded_demo.h"
#include "model/forward/forward.h"
#include "model/model.h"
#include "model/safetensors.h"
#include "model/weight_names.h"
#include "model_files.h"
#include "num/convert.h"
#include "quant/pack.h"

namespace rl::model {
namespace {

float element(const TensorRef& t, std::int64_t i) {
  if (t.dtype == DType::bf16) return num::to_float(t.as<const num::bf16>()[i]);
  if (t.dtype == DType::f16) return num::to_float(t.as<const num::fp16>()[i]);
  return t.as<const float>()[i];
}

// All elements of a stored tensor.
std::vector<float> stored(const ModelSource& source, const std::string& name) {
  std::vector<std::byte> scratch;
  const auto rows = source.weights->rows(name, 0, source.weights->tensors().at(name).shape[0], scratch);
  RL_CHECK_MSG(rows.has_value(), name);
  std::vector<float> values;
  for (std::int64_t i = 0; i < rows->elements(); ++i) values.push_back(element(*rows, i));
  return values;
}

std::vector<float> stored(const ModelSource& source, const std::vector<std::string>& names) {
  std::vector<float> all;
  for (const std::string& name : names) {
    const auto part = stored(source, name);
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

std::vector<float> unpacked(const quant::PackedWeight& weight) {
  std::vector<float> values(static_cast<std::size_t>(weight.rows * weight.cols));
  for (std::int64_t row = 0; row < weight.rows; ++row)
    quant::unpack_row(weight, row, values.data() + row * weight.cols);
  return values;
}

std::vector<float> floats(const TensorRef& t) { return {t.as<const float>(), t.as<const float>() + t.elements()}; }

TEST(LoadWeights, EveryTensorOfEveryFixtureIsInItsPlace) {
  for (const char* name : {"llama2", "llama3", "llama-linear", "mistral", "qwen2", "qwen3", "llama-sharded"}) {
    SCOPED_TRACE(name);
    ASSERT_VALUE(const ModelSource source, find_model(fixture(name)));
    EXPECT_TRUE(source.warnings.empty()) << source.warnings[0];
    for (const auto layout : {quant::Layout::row_major, quant::Layout::panel64}) {
      ASSERT_VALUE(
          const ModelWeights w,
          load_weights(source, {.format = {quant::Format::f32, quant::Format::f32}, .layout = layout, .threads = 3},
                       host_memory()));
      EXPECT_EQ(unpacked(w.embedding), stored(source, kEmbeddingName));
      EXPECT_EQ(unpacked(w.head), stored(source, source.config.tied_head ? kEmbeddingName : kHeadName));
      EXPECT_EQ(w.head.data == w.embedding.data, source.config.tied_head);
      EXPECT_EQ(floats(w.final_norm), stored(source, kFinalNormName));
      ASSERT_EQ(std::ssize(w.layers), source.config.layers);
      for (std::int64_t i = 0; i < source.config.layers; ++i) {
        const LayerWeights& layer = w.layers[static_cast<std::size_t>(i)];
        const std::string p = layer_prefix(i), a = p + "self_attn.";
        EXPECT_EQ(floats(layer.attention_norm), stored(source, p + "input_layernorm.weight"));
        EXPECT_EQ(floats(layer.ffn_norm), stored(source, p + "post_attention_layernorm.weight"));
        EXPECT_EQ(unpacked(layer.qkv), stored(source, {a + "q_proj.weight", a + "k_proj.weight", a + "v_proj.weight"}));
        EXPECT_EQ(unpacked(layer.out), stored(source, a + "o_proj.weight"));
        EXPECT_EQ(unpacked(layer.gate_up), stored(source, {p + "mlp.gate_proj.weight", p + "mlp.up_proj.weight"}));
        EXPECT_EQ(unpacked(layer.down), stored(source, p + "mlp.down_proj.weight"));
        ASSERT_EQ(bool(layer.qkv_bias), source.config.qkv_bias);
        ASSERT_EQ(bool(layer.q_norm), source.config.qk_norm);
        EXPECT_FALSE(layer.out_bias);
        if (layer.qkv_bias) {
          EXPECT_EQ(floats(layer.qkv_bias), stored(source, {a + "q_proj.bias", a + "k_proj.bias", a + "v_proj.bias"}));
        }
        if (layer.q_norm) {
          EXPECT_EQ(floats(layer.q_norm), stored(source, a + "q_norm.weight"));
          EXPECT_EQ(floats(layer.k_norm), stored(source, a + "k_norm.weight"));
        }
      }
    }
  }
}

TEST(LoadWeights, TablesKeepTheirOwnFormat) {
  for (const char* name : {"llama2", "mistral"}) {  // tied and not
    ASSERT_VALUE(const ModelSource source, find_model(fixture(name)));
    const quant::ModelFormat format{.layers = quant::Format::int8, .tables = quant::Format::f32};
    ASSERT_VALUE(const ModelWeights w, load_weights(source, {.format = format}, host_memory()));
    EXPECT_EQ(w.embedding.format, quant::Format::f32);
    EXPECT_EQ(w.head.format, quant::Format::f32);
    EXPECT_EQ(unpacked(w.head), stored(source, source.config.tied_head ? kEmbeddingName : kHeadName));
    for (const LayerWeights& layer : w.layers)
      for (const quant::PackedWeight* matrix : {&layer.qkv, &layer.out, &layer.gate_up, &layer.down})
        EXPECT_EQ(matrix->format, quant::Format::int8);
    ASSERT_VALUE(const ModelWeights shapes, weight_shapes(source.config, format, quant::Layout::row_major));
    EXPECT_EQ(shapes.bytes, w.bytes);
    EXPECT_EQ(shapes.bytes_per_token, w.bytes_per_token);
  }
}

// Scales of a whole matrix need all its rows before the first code: pieces of several tensors, read twice.
TEST(LoadWeights, ScalesOfAMatrixSpanItsParts) {
  ASSERT_VALUE(const ModelSource source, find_model("demo"));
  const std::string a = layer_prefix(2) + "self_attn.";
  const std::vector<float> values = stored(source, {a + "q_proj.weight", a + "k_proj.weight", a + "v_proj.weight"});
  float largest = 0;
  for (const float value : values) largest = std::max(largest, std::fabs(value));
  for (const auto format : {quant::Format::fp8_tensor, quant::Format::fp8_block}) {
    std::int64_t calls = 0;
    Bytes last, all;
    ASSERT_VALUE(const ModelWeights w,
                 load_weights(source,
                              {.format = {.layers = format, .tables = quant::Format::bf16},
                               .layout = quant::Layout::panel64,
                               .threads = 3,
                               .progress = [&](Bytes done, Bytes of) { ++calls, last = done, all = of; }},
                              host_memory()));
    EXPECT_EQ(last, all) << "each byte counted once";
    const quant::PackedWeight& qkv = w.layers[2].qkv;
    const float top = format == quant::Format::fp8_tensor
                          ? qkv.scales[qkv.rows - 1]
                          : *std::max_element(qkv.scales, qkv.scales + qkv.rows / 128 * qkv.cols / 128);
    EXPECT_EQ(top, largest / 448.0f);
    const std::vector<float> back = unpacked(qkv);
    for (std::size_t i = 0; i < values.size(); ++i) {
      // Half a place of 3 mantissa bits, or of the smallest code.
      ASSERT_NEAR(back[i], values[i], std::fabs(values[i]) / 16 + top / 1024) << i;
    }
  }
}

TEST(LoadWeights, CountsItsBytes) {
  ASSERT_VALUE(const ModelSource tied, find_model("demo"));
  ASSERT_VALUE(const ModelSource untied, find_model(fixture("mistral")));
  for (const ModelSource* source : {&tied, &untied}) {
    CountingResource memory(host_memory());
    Bytes last, all;
    std::int64_t calls = 0;
    {
      ASSERT_VALUE(const ModelWeights w, load_weights(*source,
                                                      {.format = {},
                                                       .threads = 2,
                                                       .progress =
                                                           [&](Bytes done, Bytes of) {
                                                             EXPECT_GT(done, last);
                                                             last = done, all = of, ++calls;
                                                           }},
                                                      memory));
      EXPECT_EQ(w.bytes, memory.live());
      // Matrices at 2 bytes, vectors (here: norms) at 4, each rounded up a little.
      const ModelConfig& c = source->config;
      const std::int64_t norms = (2 * c.layers + 1) * c.hidden;
      const std::int64_t least = (c.parameters() - norms) * 2 + norms * 4;
      EXPECT_GE(w.bytes.count, least);
      EXPECT_LE(w.bytes.count, least + memory.allocations() * 2 * kAlignment);
      const std::int64_t embedding = c.tied_head ? 0 : round_up(c.vocab * c.hidden * 2, kAlignment);
      EXPECT_EQ(w.bytes_per_token.count, w.bytes.count - embedding);
    }
    EXPECT_EQ(memory.live().count, 0);
    EXPECT_EQ(last, all);
    EXPECT_GT(calls, 10);
    std::int64_t file_bytes = 0;
    for (const auto& [name, info] : source->weights->tensors()) {
      std::int64_t n = size_of(info.dtype);
      for (const std::int64_t dim : info.shape) n *= dim;
      file_bytes += n;
    }
    EXPECT_EQ(all.count, file_bytes);
  }
}

TEST(LoadWeights, AnyFailedAllocationIsAnErrorAndLeavesNothing) {
  ASSERT_VALUE(const ModelSource source, find_model(fixture("qwen2")));
  for (std::int64_t n = 1;; ++n) {
    CountingResource memory(host_memory());
    FailingResource failing(memory, n);
    const auto result = load_weights(source, {.threads = 1}, failing);
    if (result) {
      EXPECT_EQ(n, memory.allocations() + 1);
      break;
    }
    ASSERT_EQ(result.error().kind, ErrorKind::out_of_memory);
    ASSERT_EQ(memory.live().count, 0);
  }
}

TEST(LoadWeights, AFileCutShortBetweenFindingAndLoadingIsAnError) {
  const TemporaryFolder folder;
  for (const char* file : {"config.json", "model.safetensors"})
    folder.write(file, read_text(fixture("qwen3") + "/" + file));
  ASSERT_VALUE(const ModelSource source, find_model(folder.path()));
  std::filesystem::resize_file(folder.path() / "model.safetensors", 100'000);
  CountingResource memory(host_memory());
  const auto result = load_weights(source, {.threads = 4}, memory);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().rule, "file.truncated");
  EXPECT_EQ(memory.live().count, 0);
}

TEST(LoadWeights, NotFiniteValuesAndExtraTensorsAreWarningsStaleBuffersAreNothing) {
  MemoryFiles files;
  files.files["config.json"] = read_text(fixture("llama2") + "/config.json");
  std::string& file = files.files["model.safetensors"];
  file = read_text(fixture("llama2") + "/model.safetensors");
  ASSERT_VALUE(const auto checkpoint, Checkpoint::open(files));
  const auto& tensor = checkpoint->files()[0].tensors().at("model.layers.1.mlp.up_proj.weight");
  file[static_cast<std::size_t>(tensor.begin) + 1] = 0x7E;  // NaN
  file[static_cast<std::size_t>(tensor.begin) + 0] = 0x01;
  file[static_cast<std::size_t>(tensor.begin) + 3] = 0x7C;  // infinity
  file[static_cast<std::size_t>(tensor.begin) + 2] = 0x00;
  ModelSource source{.name = "m"};
  ASSERT_VALUE(source.config, read_config(files));
  ASSERT_VALUE(source.weights, open_safetensors(files));
  ASSERT_VALUE(const ModelWeights w, load_weights(source, {}, host_memory()));
  EXPECT_EQ(w.warnings,
            std::vector<std::string>{"m: 2 values of 'model.layers.1.mlp.up_proj.weight' are infinite or NaN"});

  const std::string name = "model.layers.0.self_attn.rotary_emb.inv_freq";
  file = with(file, name, "model.layers.0.self_attn.rotary_emb.inv_what");
  ASSERT_VALUE(source.weights, open_safetensors(files));
  ASSERT_VALUE(const auto warnings, check_weights(source.config, *source.weights, "m"));
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("1 tensor that this model does not have: 'model.layers.0.self_attn.rotary_emb.inv_what'"),
            std::string::npos)
      << warnings[0];
}

// Zeroes the stored bytes of some tensors.
void clear_tensors(std::string& file, const Checkpoint& checkpoint, const std::string& ending) {
  for (const auto& [name, tensor] : checkpoint.files()[0].tensors())
    if (name.ends_with(ending)) std::fill_n(file.begin() + tensor.begin, tensor.bytes, '\0');
}

TEST(LoadWeights, OneEmptyMatrixIsAWarningMostOfThemAnError) {
  MemoryFiles files;
  files.files["config.json"] = read_text(fixture("llama2") + "/config.json");
  std::string& file = files.files["model.safetensors"];
  file = read_text(fixture("llama2") + "/model.safetensors");
  ASSERT_VALUE(const auto checkpoint, Checkpoint::open(files));
  ModelSource source{.name = "m"};
  ASSERT_VALUE(source.config, read_config(files));
  clear_tensors(file, *checkpoint, "layers.1.self_attn.o_proj.weight");
  ASSERT_VALUE(source.weights, open_safetensors(files));
  ASSERT_VALUE(const ModelWeights some, load_weights(source, {}, host_memory()));
  EXPECT_EQ(some.warnings,
            std::vector<std::string>{"m: 'model.layers.1.self_attn.o_proj.weight' is all zero or one value"});
  clear_tensors(file, *checkpoint, "_proj.weight");
  ASSERT_VALUE(source.weights, open_safetensors(files));
  const auto none = load_weights(source, {}, host_memory());
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().rule, "weights.constant");
  EXPECT_EQ(none.error().kind, ErrorKind::invalid_input);
}

TEST(FindModel, TheDemoIsInTheProgram) {
  for (const char* file : {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
                           "tokenizer_config.json", "eval.txt"}) {
    ASSERT_VALUE(const FileView view, embedded_demo_files()->open(file));
    EXPECT_EQ(view.text(), read_text(fixture("demo") + "/" + file)) << file;
  }
  EXPECT_FALSE(embedded_demo_files()->exists("training.json"));
  ASSERT_VALUE(const ModelSource embedded, find_model(""));
  ASSERT_VALUE(const ModelSource folder, find_model(fixture("demo")));
  EXPECT_EQ(embedded.name, "demo");
  EXPECT_EQ(embedded.fingerprint, folder.fingerprint);
  EXPECT_EQ(embedded.fingerprint.size(), 64u);
  EXPECT_EQ(embedded.stored_as, "bf16");
  EXPECT_FALSE(embedded.synthetic);
  std::vector<std::byte> scratch;
  ASSERT_VALUE(const TensorRef view, embedded.weights->rows(kEmbeddingName, 0, 10, scratch));
  EXPECT_TRUE(view && scratch.empty()) << "read where it lies";
}

TEST(FindModel, FingerprintsTellFilesApart) {
  const TemporaryFolder folder;
  for (const char* file : {"config.json", "model.safetensors"})
    folder.write(file, read_text(fixture("qwen3") + "/" + file));
  ASSERT_VALUE(const ModelSource before, find_model(folder.path()));
  std::string weights = read_text(folder.path() / "model.safetensors");
  weights.back() ^= 1;
  folder.write("model.safetensors", weights);
  ASSERT_VALUE(const ModelSource after, find_model(folder.path()));
  EXPECT_NE(before.fingerprint, after.fingerprint);
  folder.write("config.json", read_text(folder.path() / "config.json") + "\n");
  ASSERT_VALUE(const ModelSource spaced, find_model(folder.path()));
  EXPECT_NE(after.fingerprint, spaced.fingerprint);
}

TEST(FindModel, StoredAsNamesTheTypesOfTheMatrices) {
  EXPECT_EQ(find_model(fixture("llama2"))->stored_as, "f16");
  EXPECT_EQ(find_model(fixture("llama-linear"))->stored_as, "f32");
  EXPECT_EQ(find_model(fixture("llama-sharded"))->stored_as, "bf16") << "its norms are f32";
}

// The variables of the Hugging Face hub, put back afterwards.
class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    value ? ::setenv(name, value, 1) : ::unsetenv(name);
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  ~Environment() { old_ ? ::setenv(name_, old_->c_str(), 1) : ::unsetenv(name_); }

 private:
  const char* name_;
  std::optional<std::string> old_;
};

TEST(FindModel, LooksInTheHuggingFaceCache) {
  const TemporaryFolder home;
  const std::string hub = "models--owner--Name-7b.v1/";
  const std::string commit = "0123456789abcdef0123456789abcdef01234567";
  // As the hub lays it out: blobs, and links to them in the snapshot.
  const auto fill = [&](const std::string& root) {
    home.write(root + hub + "blobs/a", read_text(fixture("llama2") + "/config.json"));
    home.write(root + hub + "blobs/b", read_text(fixture("llama2") + "/model.safetensors"));
    home.write(root + hub + "refs/main", commit);
    const auto snapshot = home.path() / (root + hub) / "snapshots" / commit;
    std::filesystem::create_directories(snapshot);
    std::filesystem::create_symlink("../../blobs/a", snapshot / "config.json");
    std::filesystem::create_symlink("../../blobs/b", snapshot / "model.safetensors");
  };
  const Environment no_cache("HF_HUB_CACHE", nullptr), no_home("HF_HOME", nullptr);
  const Environment user("HOME", home.path().c_str());
  const auto missing = find_model("owner/Name-7b.v1");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().rule, "model.not_found");
  EXPECT_NE(missing.error().hint.find("hf download owner/Name-7b.v1"), std::string::npos);

  fill(".cache/huggingface/hub/");
  ASSERT_VALUE(const ModelSource in_home, find_model("owner/Name-7b.v1"));
  EXPECT_EQ(in_home.config.vocab, 320);
  EXPECT_EQ(in_home.name, "owner/Name-7b.v1");
  EXPECT_OK(find_files("owner/Name-7b.v1"));

  const std::string hf_home = (home.path() / "hf").string(), cache = (home.path() / "cache").string();
  const Environment with_home("HF_HOME", hf_home.c_str());
  EXPECT_FALSE(find_model("owner/Name-7b.v1")) << "HF_HOME comes before the home folder";
  fill("hf/hub/");
  EXPECT_OK(find_model("owner/Name-7b.v1"));
  const Environment with_cache("HF_HUB_CACHE", cache.c_str());
  EXPECT_FALSE(find_model("owner/Name-7b.v1")) << "HF_HUB_CACHE comes first";
  fill("cache/");
  EXPECT_OK(find_model("owner/Name-7b.v1"));
  std::filesystem::remove(home.path() / ("cache/" + hub + "refs/main"));
  EXPECT_OK(find_model("owner/Name-7b.v1")) << "one snapshot, fetched by its commit";
  home.write("cache/" + hub + "refs/main", "../../..");
  std::filesystem::create_directories(home.path() / ("cache/" + hub + "snapshots/other"));
  EXPECT_EQ(find_model("owner/Name-7b.v1").error().rule, "model.not_found");
}

// Shards in the cache are links out of the snapshot's folder, but not out of the repository's.
TEST(FindModel, ShardsInTheCacheAreLinks) {
  const TemporaryFolder home;
  const auto repository = home.path() / "models--a--b";
  const auto snapshot = repository / "snapshots/1";
  std::filesystem::create_directories(snapshot);
  for (const auto& entry : std::filesystem::directory_iterator(fixture("llama-sharded"))) {
    const std::string file = entry.path().filename();
    home.write("models--a--b/blobs/" + file, read_text(entry.path()));
    std::filesystem::create_symlink("../../blobs/" + file, snapshot / file);
  }
  const Environment cache("HF_HUB_CACHE", home.path().c_str());
  EXPECT_OK(find_model("a/b"));
}

TEST(FindModel, WhatIsNoModelIsSaidClearly) {
  const TemporaryFolder folder;
  EXPECT_EQ(find_model("nonsense").error().rule, "model.not_found");
  EXPECT_NE(find_model("nonsense").error().expected.find("OWNER/NAME"), std::string::npos);
  EXPECT_EQ(find_model("/no/such/folder").error().rule, "model.not_found");
  EXPECT_EQ(find_model("../x/y").error().rule, "model.not_found");
  const std::string gguf = folder.write("m.gguf", "GGUF");
  EXPECT_EQ(find_model(gguf).error().found, "a file");
  EXPECT_NE(find_model(gguf).error().hint.find("GGUF"), std::string::npos);
  EXPECT_EQ(find_model(folder.path()).error().rule, "model.no_config");
  folder.write("config.json", read_text(fixture("llama2") + "/config.json"));
  EXPECT_EQ(find_model(folder.path()).error().rule, "model.no_weights");
  EXPECT_EQ(find_files("synthetic:qwen3-8b").error().rule, "model.no_files");
  EXPECT_EQ(find_model("synthetic:x").error().rule, "model.unknown_synthetic");
}

}  // namespace
}  // namespace rl::model
