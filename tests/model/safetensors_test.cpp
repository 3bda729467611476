#include "model/safetensors.h"

#include "check/result.h"
#include "model_files.h"
#include "num/convert.h"

namespace rl::model {
namespace {

Result<SafetensorsFile> parse(std::string file) {
  return SafetensorsFile::open(FileView::of_string("t.safetensors", std::move(file)));
}

TEST(Safetensors, AcceptsWhatTheFormatAllows) {
  const std::string data(24, 'd');
  // No metadata, rank 0, zero sizes at every boundary, rank 8, a header of odd length, padding, escaped names, all
  // types.
  ASSERT_VALUE(const SafetensorsFile file, parse(safetensors(R"({
    "scalar": {"dtype": "F64", "shape": [], "data_offsets": [0, 8]},
    "none": {"dtype": "F32", "shape": [0, 5], "data_offsets": [8, 8]},
    "first": {"shape": [0], "data_offsets": [0, 0], "dtype": "BF16"},
    "caf\u00e9 \"q\"": {"data_offsets": [8, 16], "dtype": "BF16", "shape": [1, 1, 1, 2, 1, 1, 1, 2]},
    "bool": {"dtype": "BOOL", "shape": [2], "data_offsets": [16, 18]},
    "f4": {"dtype": "F4", "shape": [3, 4], "data_offsets": [18, 24]},
    "last": {"dtype": "U8", "shape": [0], "data_offsets": [24, 24]}}   )",
                                                             data)));
  EXPECT_EQ(file.tensors().size(), 7u);
  EXPECT_EQ(file.tensors().at("scalar").info.shape.size(), 0u);
  EXPECT_EQ(file.tensors().at("none").bytes, 0);
  EXPECT_EQ(file.tensors().at("café \"q\"").info.shape.size(), 8u);
  EXPECT_EQ(file.tensors().at("café \"q\"").begin, file.data_begin() + 8);
  EXPECT_FALSE(file.tensors().at("f4").info.readable);
  EXPECT_EQ(file.tensors().at("f4").info.stored, "F4");
  EXPECT_OK(parse(safetensors(R"({"__metadata__": {}})")));
  EXPECT_OK(parse(safetensors("{}")));
}

struct Value {
  const char* model;
  const char* tensor;
  std::int64_t row, col;
  float value;
};
// Read from the files' bytes with Python's struct.
const Value kValues[] = {
    {"demo", "model.layers.1.mlp.down_proj.weight", 5, 7, -0.031982421875f},
    {"demo", "model.norm.weight", 3, 0, 2.421875f},
    {"llama2", "model.layers.1.mlp.down_proj.weight", 5, 7, -0.154541015625f},
    {"llama2", "model.norm.weight", 3, 0, 1.111328125f},
    {"llama2", "model.layers.0.self_attn.rotary_emb.inv_freq", 3, 0, 0.03162277862429619f},
    {"llama3", "model.layers.1.mlp.down_proj.weight", 5, 7, -0.1181640625f},
    {"llama3", "model.norm.weight", 3, 0, 6.71875f},
    {"llama-linear", "model.layers.1.mlp.down_proj.weight", 5, 7, 0.02045425772666931f},
    {"llama-linear", "model.norm.weight", 3, 0, 1.2262028455734253f},
    {"mistral", "model.layers.1.mlp.down_proj.weight", 5, 7, -0.01153564453125f},
    {"qwen2", "model.layers.1.self_attn.q_proj.bias", 3, 0, 0.05859375f},
    {"qwen3", "model.layers.1.mlp.down_proj.weight", 5, 7, -0.275390625f},
    {"llama-sharded", "model.layers.1.mlp.down_proj.weight", 5, 7, -0.1396484375f},
    {"llama-sharded", "model.norm.weight", 3, 0, 0.96875f},
};

float element(const TensorRef& t, std::int64_t i) {
  if (t.dtype == DType::bf16) return num::to_float(t.as<const num::bf16>()[i]);
  if (t.dtype == DType::f16) return num::to_float(t.as<const num::fp16>()[i]);
  return t.as<const float>()[i];
}

TEST(Safetensors, FixturesHoldTheirValues) {
  for (const Value& v : kValues) {
    SCOPED_TRACE(fmt::format("{} {}", v.model, v.tensor));
    ASSERT_VALUE(const auto source, open_safetensors(*folder_files(fixture(v.model))));
    std::vector<std::byte> scratch;
    ASSERT_VALUE(const TensorRef rows, source->rows(v.tensor, v.row - 1, 3, scratch));
    const std::int64_t cols = rows.rank == 2 ? rows.shape[1] : 1;
    EXPECT_EQ(rows.shape[0], 3);
    EXPECT_EQ(element(rows, cols + v.col), v.value);
  }
}

TEST(Safetensors, RowsOutsideATensorAreRefused) {
  ASSERT_VALUE(const auto source, open_safetensors(*folder_files(fixture("llama2"))));
  const auto rule = [&](const char* name, std::int64_t first, std::int64_t n) {
    std::vector<std::byte> scratch;
    const auto rows = source->rows(name, first, n, scratch);
    return rows ? "" : rows.error().rule;
  };
  EXPECT_EQ(rule("model.norm.weight", 0, 64), "");
  EXPECT_EQ(rule("model.norm.weight", 64, 0), "");
  EXPECT_EQ(rule("model.norm.weight", 1, 64), "weights.rows");
  EXPECT_EQ(rule("model.norm.weight", -1, 1), "weights.rows");
  EXPECT_EQ(rule("model.norm.weight", 1, -1), "weights.rows");
  EXPECT_EQ(rule("model.norm.weight", INT64_MAX, 1), "weights.rows");
  EXPECT_EQ(rule("model.norm.weight", 1, INT64_MAX), "weights.rows");
  EXPECT_EQ(rule("no.such.tensor", 0, 1), "weights.missing");
}

// Data at an odd address: copied, never cast.
TEST(Safetensors, UnalignedDataIsReadRight) {
  MemoryFiles files;
  const std::string header = R"({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}})";
  ASSERT_EQ(header.size() % 2, 1u);
  const float values[] = {1.5f, -2.25f};
  files.files["model.safetensors"] = safetensors(header, {reinterpret_cast<const char*>(values), 8});
  ASSERT_VALUE(const auto source, open_safetensors(files));
  std::vector<std::byte> scratch;
  ASSERT_VALUE(const TensorRef rows, source->rows("w", 0, 2, scratch));
  EXPECT_EQ(rows.as<const float>()[1], -2.25f);
}

// A file cut short under our hands ends in an error, not in SIGBUS.
TEST(Safetensors, AFileCutShortAfterOpeningIsAnError) {
  const TemporaryFolder folder;
  const auto path = folder.write("model.safetensors", read_text(fixture("llama2") + "/model.safetensors"));
  ASSERT_VALUE(const auto source, open_safetensors(*folder_files(folder.path())));
  std::filesystem::resize_file(path, 5000);
  std::vector<std::byte> scratch;
  const auto rows = source->rows("model.norm.weight", 0, 64, scratch);
  ASSERT_FALSE(rows);
  EXPECT_EQ(rows.error().rule, "file.truncated");
  EXPECT_EQ(rows.error().kind, ErrorKind::io);
}

TEST(Safetensors, AFolderWithoutThemSaysWhatItHas) {
  MemoryFiles files;
  EXPECT_EQ(open_safetensors(files).error().rule, "model.no_weights");
  files.files["pytorch_model.bin"] = "";
  EXPECT_NE(open_safetensors(files).error().found.find("pickles"), std::string::npos);
}

}  // namespace
}  // namespace rl::model
