// Cases 1-20 and 50-53 of malformed weight files: each is refused with its rule, the field and the byte, quickly, and
// with nothing allocated. (Config: config_test.cpp; JSON: json_test.cpp; tokenizers: tokenizer_malformed_test.cpp.)

#include <set>

#include "check/growth.h"
#include "check/result.h"
#include "device/memory.h"
#include "model/model.h"
#include "model/safetensors.h"
#include "model_files.h"
#include "num/random.h"

namespace rl::model {
namespace {

Result<SafetensorsFile> parse(std::string file) {
  return SafetensorsFile::open(FileView::of_string("t.safetensors", std::move(file)));
}

// {"dtype": "U8", "shape": [bytes], "data_offsets": [begin, end]}
std::string u8(std::int64_t begin, std::int64_t end) {
  return fmt::format(R"({{"dtype":"U8","shape":[{}],"data_offsets":[{},{}]}})", end - begin, begin, end);
}

struct Bad {
  int number;  // of the case
  const char* name;
  std::string file;
  const char* rule;
  const char* field;
  std::int64_t offset;
};

// A file of one tensor "a", its entry as given, over 16 bytes of data; the offset is that of `at` in the header.
Bad entry(int number, const char* name, const std::string& text, const char* rule, const char* field, const char* at) {
  const std::string header = R"({"a": )" + text + "}";
  return {number, name,  safetensors(header, std::string(16, 'x')),
          rule,   field, 8 + static_cast<std::int64_t>(header.find(at))};
}
Bad header(int number, const char* name, const std::string& text, const char* rule, const char* field, const char* at,
           std::size_t data = 16) {
  return {number, name,  safetensors(text, std::string(data, 'x')),
          rule,   field, 8 + static_cast<std::int64_t>(text.rfind(at))};
}

std::string length_field(std::uint64_t length) {
  return std::string(reinterpret_cast<const char*>(&length), 8) + std::string(32, ' ');
}

// The object and 63 arrays are the 64 levels that are allowed.
const char* deep_field() {
  static const std::string field = [] {
    std::string path = "a";
    for (int i = 0; i < 63; ++i) path += "[0]";
    return path;
  }();
  return field.c_str();
}

std::vector<Bad> bad_files() {
  const std::string good = R"({"dtype":"F32","shape":[4],"data_offsets":[0,16]})";
  return {
      {1, "empty", "", "safetensors.size", "", 0},
      {1, "seven_bytes", "1234567", "safetensors.size", "", 0},
      {2, "length_0", length_field(0), "safetensors.header_length", "", 0},
      {2, "length_100_million_1", length_field(100'000'001), "safetensors.header_length", "", 0},
      {2, "length_max", length_field(UINT64_MAX), "safetensors.header_length", "", 0},
      {3, "length_beyond_file", length_field(33), "safetensors.header_length", "", 0},
      {3, "length_negative", length_field(1ULL << 63), "safetensors.header_length", "", 0},
      header(4, "space_first", R"( {"a":)" + good + "}", "safetensors.header_start", "", " {"),
      header(4, "array", "[1, 2]", "safetensors.header_start", "", "["),
      {4, "nul_after", safetensors(std::string("{}\0\0", 4)), "json.trailing", "", 10},
      header(4, "text_after", "{} PK", "json.trailing", "", "PK", 0),
      header(5, "invalid_utf8", "{\"a\xff\": 1}", "json.utf8", "", "\xff"),
      header(5, "bad_escape", R"({"a\q": 1})", "json.escape", "", "\\q"),
      header(6, "truncated", R"({"a": {"dtype")", "json.syntax", "a.dtype", "\0"),
      header(6, "trailing_comma", R"({"a": )" + good + ",}", "json.syntax", "a", "}"),
      header(6, "comment", R"({"a": /**/ )" + good + "}", "json.syntax", "a", "/**/"),
      header(7, "name_twice", R"({"a":)" + u8(0, 8) + R"(,"a":)" + u8(8, 16) + "}", "json.duplicate_key", "a", "\"a\""),
      entry(8, "field_twice", R"({"dtype":"F32","shape":[4],"data_offsets":[0,16],"shape" :[4]})", "json.duplicate_key",
            "a.shape", "\"shape\" "),
      entry(9, "no_dtype", R"({"shape":[4],"data_offsets":[0,16]})", "safetensors.missing_field", "a.dtype", "{\"s"),
      entry(9, "no_shape", R"({"dtype":"F32","data_offsets":[0,16]})", "safetensors.missing_field", "a.shape", "{\"d"),
      entry(9, "no_offsets", R"({"dtype":"F32","shape":[4]})", "safetensors.missing_field", "a.data_offsets", "{\"d"),
      entry(9, "unknown_field", R"({"dtype":"F32","shape":[4],"data_offsets":[0,16],"strides":[1]})",
            "safetensors.unknown_field", "a.strides", "[1]"),
      entry(9, "not_an_object", "[]", "safetensors.entry", "a", "[]"),
      entry(10, "unknown_dtype", R"({"dtype":"F33","shape":[4],"data_offsets":[0,16]})", "safetensors.dtype", "a.dtype",
            "\"F33\""),
      entry(10, "lower_case", R"({"dtype":"f32","shape":[4],"data_offsets":[0,16]})", "safetensors.dtype", "a.dtype",
            "\"f32\""),
      entry(10, "dtype_number", R"({"dtype":32,"shape":[4],"data_offsets":[0,16]})", "safetensors.dtype", "a.dtype",
            "32"),
      entry(11, "dim_negative", R"({"dtype":"F32","shape":[4,-1],"data_offsets":[0,16]})", "safetensors.shape",
            "a.shape[1]", "-1"),
      entry(11, "dim_float", R"({"dtype":"F32","shape":[4.0],"data_offsets":[0,16]})", "safetensors.shape",
            "a.shape[0]", "4.0"),
      entry(11, "dim_string", R"({"dtype":"F32","shape":["4"],"data_offsets":[0,16]})", "safetensors.shape",
            "a.shape[0]", "\"4\""),
      entry(11, "dim_2_63", R"({"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,16]})",
            "safetensors.shape", "a.shape[0]", "92233"),
      entry(11, "shape_number", R"({"dtype":"F32","shape":4,"data_offsets":[0,16]})", "safetensors.shape", "a.shape",
            "4,"),
      entry(12, "product", R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,16]})",
            "safetensors.overflow", "a.shape", "[42"),
      entry(12, "bytes", R"({"dtype":"F64","shape":[1152921504606846976],"data_offsets":[0,16]})",
            "safetensors.overflow", "a.shape", "[11"),
      entry(12, "zero_hides", R"({"dtype":"F32","shape":[0,4611686018427387904,4],"data_offsets":[0,0]})",
            "safetensors.overflow", "a.shape", "[0,46"),
      entry(13, "rank_9", R"({"dtype":"F32","shape":[1,1,1,1,1,1,1,1,4],"data_offsets":[0,16]})", "safetensors.rank",
            "a.shape", "[1,1"),
      entry(14, "end_first", R"({"dtype":"F32","shape":[4],"data_offsets":[16,0]})", "safetensors.offsets",
            "a.data_offsets", "[16"),
      entry(14, "negative", R"({"dtype":"F32","shape":[4],"data_offsets":[-16,0]})", "safetensors.offsets",
            "a.data_offsets[0]", "-16"),
      entry(14, "three", R"({"dtype":"F32","shape":[4],"data_offsets":[0,16,32]})", "safetensors.offsets",
            "a.data_offsets", "[0,16"),
      entry(14, "beyond", R"({"dtype":"F32","shape":[8],"data_offsets":[0,32]})", "safetensors.offsets",
            "a.data_offsets[1]", "32]"),
      entry(14, "float", R"({"dtype":"F32","shape":[4],"data_offsets":[0,16.0]})", "safetensors.offsets",
            "a.data_offsets[1]", "16.0"),
      entry(15, "bytes_differ", R"({"dtype":"F32","shape":[3],"data_offsets":[0,16]})", "safetensors.byte_size",
            "a.data_offsets", "[0,16"),
      header(16, "overlap", R"({"a":)" + u8(0, 9) + R"(,"b":)" + u8(8, 16) + "}", "safetensors.overlap",
             "b.data_offsets", "[8,16"),
      header(16, "same_bytes", R"({"a":)" + u8(0, 16) + R"(,"b":)" + u8(0, 16) + "}", "safetensors.overlap",
             "b.data_offsets", "[0,16"),
      header(16, "empty_inside", R"({"a":)" + u8(0, 16) + R"(,"b":)" + u8(8, 8) + "}", "safetensors.overlap",
             "b.data_offsets", "[8,8"),
      header(17, "hole", R"({"a":)" + u8(0, 8) + R"(,"b":)" + u8(9, 16) + "}", "safetensors.hole", "b.data_offsets",
             "[9,16"),
      header(17, "first_not_0", R"({"a":)" + u8(1, 16) + "}", "safetensors.hole", "a.data_offsets", "[1,16"),
      {18, "bytes_after", safetensors(R"({"a":)" + u8(0, 16) + "}", std::string(20, 'x')), "safetensors.trailing", "",
       8 + 6 + static_cast<std::int64_t>(u8(0, 16).size()) + 16},
      entry(19, "half_byte", R"({"dtype":"F4","shape":[31],"data_offsets":[0,16]})", "safetensors.sub_byte", "a.shape",
            "[31"),
      entry(19, "six_bits", R"({"dtype":"F6_E2M3","shape":[2],"data_offsets":[0,1]})", "safetensors.sub_byte",
            "a.shape", "[2]"),
      header(20, "metadata_number", R"({"__metadata__":{"x":1},"a":)" + good + "}", "safetensors.metadata",
             "__metadata__.x", "1},"),
      header(20, "metadata_text", R"({"__metadata__":"pt","a":)" + good + "}", "safetensors.metadata", "__metadata__",
             "\"pt\""),
      {42, "deep", safetensors(R"({"a": )" + std::string(100, '[')), "json.depth", deep_field(), 8 + 6 + 63},
  };
}

TEST(Malformed, SafetensorsAreRefusedWithRuleFieldAndOffset) {
  std::set<int> cases;
  for (const Bad& bad : bad_files()) {
    SCOPED_TRACE(fmt::format("case {}: {}", bad.number, bad.name));
    cases.insert(bad.number);
    const auto result = parse(bad.file);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().rule, bad.rule) << result.error().message();
    EXPECT_EQ(result.error().field, bad.field) << result.error().message();
    EXPECT_EQ(result.error().offset, bad.offset) << result.error().message();
    EXPECT_EQ(result.error().file, "t.safetensors");
    EXPECT_EQ(result.error().kind, ErrorKind::invalid_input);
  }
  for (int number = 1; number <= 20; ++number) EXPECT_TRUE(cases.contains(number)) << "case " << number;
}

// The fixture llama-sharded in memory, with one text replaced in one of its files.
MemoryFiles sharded() {
  MemoryFiles files;
  for (const char* name : {"config.json", "model.safetensors.index.json", "model-00001-of-00003.safetensors",
                           "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors"})
    files.files[name] = read_text(fixture("llama-sharded") + "/" + name);
  return files;
}
constexpr const char* kIndex = "model.safetensors.index.json";

struct BadIndex {
  int number;
  const char *from, *to;  // in the index
  const char *rule, *field;
};
const BadIndex kBadIndices[] = {
    {52, R"("lm_head.weight": "model-00003-of-00003.safetensors")", R"("lm_head.weight": "../model.safetensors")",
     "index.shard_name", "weight_map.lm_head.weight"},
    {52, R"("lm_head.weight": "model-00003-of-00003.safetensors")", R"("lm_head.weight": "/etc/passwd")",
     "index.shard_name", "weight_map.lm_head.weight"},
    {52, R"("lm_head.weight": "model-00003-of-00003.safetensors")", R"("lm_head.weight": "..")", "index.shard_name",
     "weight_map.lm_head.weight"},
    {52, R"("lm_head.weight": "model-00003-of-00003.safetensors")", R"("lm_head.weight": "a\u0000b")",
     "index.shard_name", "weight_map.lm_head.weight"},
    {52, R"("lm_head.weight": "model-00003-of-00003.safetensors")", R"("lm_head.weight": 3)", "json.type",
     "weight_map.lm_head.weight"},
    {53, R"("lm_head.weight": "model-00003-of-00003.safetensors")", R"("lm_head.weight": "model-00004.safetensors")",
     "index.shard_missing", "weight_map.lm_head.weight"},
    {53, R"("lm_head.weight": "model-00003-of-00003.safetensors",)", "", "index.tensor_unlisted", "lm_head.weight"},
    {53, R"("lm_head.weight")", R"("lm_head.weights")", "index.tensor_missing", "weight_map.lm_head.weights"},
    {53, R"("lm_head.weight": "model-00003-of-00003.safetensors")",
     R"("lm_head.weight": "model-00002-of-00003.safetensors")", "index.tensor_missing", "weight_map.lm_head.weight"},
    {53, R"("total_size": 315136)", R"("total_size": 315138)", "index.total_size", "metadata.total_size"},
    {53, R"("weight_map")", R"("weight_maps")", "json.missing", "weight_map"},
};

TEST(Malformed, IndicesAreRefusedWithRuleFieldAndOffset) {
  EXPECT_OK(open_safetensors(sharded()));
  for (const BadIndex& bad : kBadIndices) {
    SCOPED_TRACE(bad.to);
    MemoryFiles files = sharded();
    files.files[kIndex] = with(files.files[kIndex], bad.from, bad.to);
    const auto result = open_safetensors(files);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().rule, bad.rule) << result.error().message();
    EXPECT_EQ(result.error().field, bad.field) << result.error().message();
    EXPECT_TRUE(result.error().offset);
  }
  MemoryFiles empty = sharded();
  empty.files[kIndex] = R"({"weight_map": {}})";
  EXPECT_EQ(open_safetensors(empty).error().rule, "index.empty");
  MemoryFiles twice = sharded();  // the same tensors in two files
  twice.files["model-00002-of-00003.safetensors"] = twice.files["model-00003-of-00003.safetensors"];
  EXPECT_EQ(open_safetensors(twice).error().rule, "index.tensor_missing");
  MemoryFiles added = sharded();
  const std::string extra =
      safetensors(R"({"lm_head.weight":)" + u8(0, 4) + R"(,"more":)" + u8(4, 8) + "}", "12345678");
  added.files["extra.safetensors"] = extra;
  added.files[kIndex] =
      with(added.files[kIndex], R"("weight_map": {)", R"("weight_map": {"more": "extra.safetensors",)");
  EXPECT_EQ(open_safetensors(added).error().rule, "index.tensor_twice");
}

TEST(Malformed, AShardThatIsALinkOutOfTheFolderIsRefused) {
  const TemporaryFolder folder, other;
  for (const auto& [name, content] : sharded().files) folder.write(name, content);
  const auto shard = folder.path() / "model-00003-of-00003.safetensors";
  std::filesystem::rename(shard, other.path() / "shard");
  std::filesystem::create_symlink(other.path() / "shard", shard);
  const auto result = open_safetensors(*folder_files(folder.path()));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().rule, "index.shard_name");
  std::filesystem::remove(shard);
  std::filesystem::rename(other.path() / "shard", folder.path() / "real");
  std::filesystem::create_symlink("real", shard);
  EXPECT_OK(open_safetensors(*folder_files(folder.path())));
}

// Case 50, and that nothing is allocated before everything was checked.
TEST(Malformed, TensorsThatDoNotFitTheConfigAreRefused) {
  struct Edit {
    const char *from, *to;
    const char *rule, *field;
  };
  const Edit edits[] = {
      {R"("num_hidden_layers": 3)", R"("num_hidden_layers": 4)", "weights.missing",
       "model.layers.3.input_layernorm.weight"},
      {R"("intermediate_size": 112)", R"("intermediate_size": 96)", "weights.shape",
       "model.layers.0.mlp.gate_proj.weight"},
      {R"("vocab_size": 288)", R"("vocab_size": 289)", "weights.shape", "model.embed_tokens.weight"},
      {R"("LlamaForCausalLM")", R"("Qwen3ForCausalLM")", "weights.missing", "model.layers.0.self_attn.q_norm.weight"},
      {R"("attention_bias": false)", R"("attention_bias": true)", "weights.missing",
       "model.layers.0.self_attn.q_proj.bias"},
  };
  for (const Edit& edit : edits) {
    SCOPED_TRACE(edit.to);
    MemoryFiles files = sharded();
    std::string& config = files.files["config.json"];
    config = with(config, edit.from, edit.to);
    if (std::string_view(edit.to).find("Qwen3") != std::string_view::npos)
      config = with(config, R"("model_type": "llama")", R"("model_type": "qwen3")");
    ASSERT_VALUE(ModelConfig parsed, read_config(files));
    ASSERT_VALUE(auto weights, open_safetensors(files));
    const ModelSource source{.name = "edited", .config = parsed, .weights = std::move(weights)};
    CountingResource memory(host_memory());
    const auto result = load_weights(source, {}, memory);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().rule, edit.rule) << result.error().message();
    EXPECT_EQ(result.error().field, edit.field) << result.error().message();
    EXPECT_EQ(result.error().offset.has_value(), result.error().rule == "weights.shape");
    EXPECT_EQ(memory.allocations(), 0);
  }
}

TEST(Malformed, MatricesOfOtherTypesAreRefusedByName) {
  MemoryFiles files = sharded();
  std::string& shard = files.files["model-00003-of-00003.safetensors"];
  shard = with(shard, R"("lm_head.weight":{"dtype":"BF16")", R"("lm_head.weight":{"dtype":"I16" )");
  ASSERT_VALUE(const ModelConfig config, read_config(files));
  ASSERT_VALUE(const auto weights, open_safetensors(files));
  const Error error = check_weights(config, *weights, "x").error();
  EXPECT_EQ(error.rule, "weights.dtype");
  EXPECT_EQ(error.kind, ErrorKind::unsupported);
  EXPECT_EQ(error.found, "I16");
}

std::vector<std::string> hostile_files(std::size_t size) {
  std::string tensors = "{", empty = "{", overlapping = "{", metadata = R"({"__metadata__":{)",
              dims = R"({"a":{"dtype":"U8","shape":[)";
  for (int i = 0; tensors.size() < size; ++i) tensors += fmt::format("\"{}\":{},", i, u8(i, i + 1));
  for (int i = 0; empty.size() < size; ++i) empty += fmt::format("\"{}\":{},", i, u8(0, 0));
  for (int i = 0; overlapping.size() < size; ++i) overlapping += fmt::format("\"{}\":{},", i, u8(0, 5));
  for (int i = 0; metadata.size() < size; ++i) metadata += fmt::format("\"{:x}\":\"\",", i);
  while (dims.size() < size) dims += "0,";
  metadata.back() = '}', metadata += "}";
  for (std::string* text : {&tensors, &empty, &overlapping}) text->back() = '}';
  dims.back() = ']', dims += R"(,"data_offsets":[0,0]}})";
  std::vector<std::string> files;
  for (const std::string& header : {tensors, empty, overlapping, metadata, dims, "{" + std::string(size, ' ') + "}",
                                    "{\"" + std::string(size, 'a') + "\":" + u8(0, 1) + "}"})
    files.push_back(safetensors(header, std::string(40000, 'x')));
  return files;
}

TEST(Malformed, HostileHeadersTakeLinearTime) {
  const auto small = hostile_files(std::size_t{1} << 16), large = hostile_files(std::size_t{1} << 20);
  for (std::size_t i = 0; i < small.size(); ++i) {
    const auto open = [](const std::string& file) { static_cast<void>(parse(file).has_value()); };
    EXPECT_LT(check::growth(small[i], large[i], open), check::kLinearGrowth) << small[i].substr(0, 48);
  }
}

// Mutations of good files: refused or accepted, never a crash. What is accepted can be read to its last byte.
TEST(Malformed, MutationsNeverCrash) {
  const std::string seeds[] = {
      safetensors(R"({"__metadata__":{"format":"pt"},"a":)" + u8(0, 8) + R"(,"b":)" + u8(8, 16) + "}",
                  std::string(16, 'x')),
      read_text(fixture("llama-sharded") + "/model-00003-of-00003.safetensors").substr(0, 4000),
      read_text(fixture("qwen3") + "/config.json"), read_text(fixture("llama3") + "/config.json"),
      read_text(fixture("llama-sharded") + "/" + kIndex)};
  const std::string_view tokens[] = {"-1",      "0",
                                     "1e999",   "\"",
                                     "[",       "]",
                                     "{",       "}",
                                     ",",       "18446744073709551616",
                                     "null",    "\\u0000",
                                     "\xff",    "9223372036854775807",
                                     "[[[[[[[["};
  std::uint64_t draw = 0;
  const auto below = [&](std::uint64_t n) { return static_cast<std::size_t>(num::uniform_below(7, 0, draw++, n)); };
  std::int64_t accepted = 0, refused = 0;
  for (int i = 0; i < 6000; ++i) {
    const std::size_t which = below(std::size(seeds));
    std::string text = seeds[which];
    for (std::size_t edits = 1 + below(3); edits > 0; --edits) {
      const std::size_t at = below(text.size());
      switch (below(5)) {
        case 0:
          text[at] = static_cast<char>(below(256));
          break;
        case 1:
          text.insert(at, tokens[below(std::size(tokens))]);
          break;
        case 2:
          text.erase(at, 1 + below(8));
          break;
        case 3:
          text.resize(std::max<std::size_t>(1, at));
          break;
        default:
          text[at] = static_cast<char>(text[at] ^ (1 << below(8)));
      }
    }
    MemoryFiles files;
    files.files[which < 2 ? "model.safetensors" : which < 4 ? "config.json" : kIndex] = text;
    bool good = false;
    if (which < 2) {
      const auto source = open_safetensors(files);
      good = source.has_value();
      std::vector<std::byte> scratch;
      for (const auto& [name, info] : good ? (*source)->tensors() : std::map<std::string, WeightSource::Info>())
        if (!info.shape.empty()) static_cast<void>((*source)->rows(name, 0, info.shape[0], scratch).has_value());
      EXPECT_TRUE(good || !source.error().rule.empty());
    } else if (which < 4) {
      const auto config = read_config(files);
      good = config.has_value();
      EXPECT_TRUE(good || !config.error().rule.empty());
    } else {
      good = open_safetensors(files).has_value();
    }
    ++(good ? accepted : refused);
  }
  EXPECT_GT(accepted, 100) << "mutations that change nothing that matters";
  EXPECT_GT(refused, 3000);
}

}  // namespace
}  // namespace rl::model
