#include "model/config.h"

#include "check/result.h"
#include "model/embedded_demo.h"
#include "model/synthetic.h"
#include "model_files.h"

namespace rl::model {
namespace {

using Rope = RopeConfig::Type;

ModelConfig read_fixture(const std::string& name) {
  auto config = read_config(*folder_files(fixture(name)));
  RL_CHECK_MSG(config.has_value(), config ? "" : config.error().message());
  return *config;
}

TEST(Config, FixturesReadAsTheyAre) {
  const ModelConfig demo = read_fixture("demo");
  EXPECT_EQ(demo.family, Family::llama);
  EXPECT_EQ(std::tuple(demo.hidden, demo.ffn, demo.layers, demo.heads, demo.kv_heads, demo.head_dim, demo.vocab),
            std::tuple(256, 768, 8, 4, 2, 64, 4096));
  EXPECT_EQ(demo.max_positions, 2048);
  EXPECT_TRUE(demo.tied_head);
  EXPECT_EQ(demo.parameters(), 7'344'384) << "training.json counts the same";
  EXPECT_EQ(demo.bos, 0);
  EXPECT_EQ(demo.eos, std::vector<TokenId>{1});
  EXPECT_EQ(demo.declared_dtype, "bfloat16");

  const ModelConfig llama2 = read_fixture("llama2");
  EXPECT_EQ(llama2.head_dim, 16) << "hidden / heads";
  EXPECT_EQ(std::tuple(llama2.layers, llama2.kv_heads, llama2.vocab, llama2.ffn), std::tuple(3, 4, 320, 96));
  EXPECT_FALSE(llama2.tied_head);
  EXPECT_EQ(llama2.declared_dtype, "float16");

  const ModelConfig llama3 = read_fixture("llama3");
  EXPECT_EQ(llama3.rope.type, Rope::llama3);
  EXPECT_EQ(std::tuple(llama3.rope.theta, llama3.rope.factor, llama3.rope.low_freq_factor, llama3.rope.high_freq_factor,
                       llama3.rope.original_max_positions),
            std::tuple(500000.0, 8.0, 1.0, 4.0, 64));
  EXPECT_EQ(llama3.eos, (std::vector<TokenId>{2, 3}));

  const ModelConfig linear = read_fixture("llama-linear");
  EXPECT_EQ(linear.rope.type, Rope::linear);
  EXPECT_EQ(linear.rope.factor, 2.5);
  EXPECT_EQ(linear.rms_norm_eps, 1e-6);

  const ModelConfig mistral = read_fixture("mistral");
  EXPECT_EQ(mistral.family, Family::mistral);
  EXPECT_EQ(std::tuple(mistral.sliding_window, mistral.head_dim), std::tuple(24, 24));

  const ModelConfig qwen2 = read_fixture("qwen2");
  EXPECT_EQ(qwen2.family, Family::qwen2);
  EXPECT_TRUE(qwen2.qkv_bias && !qwen2.out_bias && !qwen2.qk_norm);
  EXPECT_EQ(qwen2.sliding_window, 0) << "switched off";
  EXPECT_EQ(qwen2.rope.theta, 1e6);
  EXPECT_FALSE(qwen2.bos);

  const ModelConfig qwen3 = read_fixture("qwen3");
  EXPECT_EQ(qwen3.family, Family::qwen3);
  EXPECT_TRUE(qwen3.qk_norm && !qwen3.qkv_bias);
  EXPECT_EQ(std::tuple(qwen3.head_dim, qwen3.hidden / qwen3.heads), std::tuple(32, 16));
  EXPECT_EQ(qwen3.rope.theta, 1e6) << "inside rope_parameters";

  EXPECT_EQ(read_fixture("llama-sharded").kv_heads, 1);
}

// The shapes of the synthetic models, by the parameter counts their model cards state (exact, from the checkpoints).
TEST(Config, SyntheticShapesHaveTheParametersOfTheirModels) {
  const std::map<std::string, std::int64_t> published = {{"llama-3-8b", 8'030'261'248},   {"llama-2-7b", 6'738'415'616},
                                                         {"llama-3.2-1b", 1'235'814'400}, {"mistral-7b", 7'241'732'096},
                                                         {"qwen3-8b", 8'190'735'360},     {"qwen3-0.6b", 596'049'920}};
  ASSERT_EQ(synthetic_names().size(), published.size());
  for (const std::string& name : synthetic_names()) {
    ASSERT_VALUE(const ModelSource source, synthetic_named(name));
    EXPECT_EQ(source.config.parameters(), published.at(name)) << name;
  }
  const Error unknown = synthetic_named("llama-9").error();
  EXPECT_EQ(unknown.rule, "model.unknown_synthetic");
  EXPECT_NE(unknown.expected.find("synthetic:qwen3-8b"), std::string::npos);
}

constexpr const char* kSmall =
    R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 96,
  "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100, "EXTRA": 0})";

std::string small(const std::string& extra) { return with(kSmall, R"("EXTRA": 0)", extra); }
std::string mistral(const std::string& extra) {
  return with(with(small(extra), "LlamaFor", "MistralFor"), R"("llama")", R"("mistral")");
}
std::string qwen(int n, const std::string& extra) {
  return with(with(small(extra), "LlamaFor", fmt::format("Qwen{}For", n)), R"("llama")", fmt::format(R"("qwen{}")", n));
}

Result<ModelConfig> parse(std::string text, std::string generation = {}) {
  MemoryFiles files;
  files.files["config.json"] = std::move(text);
  if (!generation.empty()) files.files["generation_config.json"] = std::move(generation);
  return read_config(files);
}

TEST(Config, DefaultsAndSpellings) {
  ASSERT_VALUE(const ModelConfig plain, parse(small(R"("x": 1)")));
  EXPECT_EQ(std::tuple(plain.kv_heads, plain.head_dim, plain.max_positions), std::tuple(4, 16, 2048));
  EXPECT_EQ(std::tuple(plain.rms_norm_eps, plain.rope.theta), std::tuple(1e-6, 1e4));
  EXPECT_FALSE(plain.tied_head || plain.qkv_bias || plain.out_bias);

  ASSERT_VALUE(const ModelConfig nulls,
               parse(small(R"("head_dim": null, "num_key_value_heads": null, "rope_scaling": null,
    "rope_parameters": null, "sliding_window": null, "bos_token_id": null, "eos_token_id": null, "pad_token_id": -1,
    "rms_norm_eps": null, "quantization_config": null, "torch_dtype": null)")));
  EXPECT_EQ(std::tuple(nulls.kv_heads, nulls.head_dim), std::tuple(4, 16));
  EXPECT_TRUE(nulls.eos.empty());

  ASSERT_VALUE(const ModelConfig biased, parse(small(R"("attention_bias": true)")));
  EXPECT_TRUE(biased.qkv_bias && biased.out_bias);
  ASSERT_VALUE(const ModelConfig qwen3_biased, parse(qwen(3, R"("attention_bias": true)")));
  EXPECT_TRUE(qwen3_biased.qkv_bias && qwen3_biased.out_bias);
  EXPECT_EQ(qwen3_biased.head_dim, 128) << "absent: transformers' default";
  ASSERT_VALUE(const ModelConfig qwen3_null, parse(qwen(3, R"("head_dim": null)")));
  EXPECT_EQ(qwen3_null.head_dim, 16);

  ASSERT_VALUE(const ModelConfig both, parse(small(R"("rope_theta": 5e5, "rope_parameters": {"rope_type": "linear",
    "factor": 2, "rope_theta": 500000})")));
  EXPECT_EQ(std::tuple(both.rope.type, both.rope.theta, both.rope.factor), std::tuple(Rope::linear, 5e5, 2.0));
  ASSERT_VALUE(const ModelConfig outside,
               parse(small(R"("rope_theta": 70, "rope_parameters": {"rope_type": "default"})")));
  EXPECT_EQ(outside.rope.theta, 70);
  ASSERT_VALUE(const ModelConfig no_original,
               parse(small(R"("max_position_embeddings": 512, "rope_scaling": {"type": "llama3", "factor": 8.0,
    "low_freq_factor": 1.0, "high_freq_factor": 4.0})")));
  EXPECT_EQ(no_original.rope.original_max_positions, 512) << "takes max_position_embeddings";

  ASSERT_VALUE(const ModelConfig odd, parse(small(R"("model_max_length": 1000000000000000019884624838656,
    "transformers_version": "9", "attention_dropout": 0.1, "pretraining_tp": 2, "nested": {"a": [1, {"b": 2}]},
    "mlp_bias": false, "use_mrope": false, "partial_rotary_factor": 1.0, "auto_map": {"AutoModel": "x.py"})")));
  ASSERT_EQ(odd.warnings.size(), 1u);
  EXPECT_NE(odd.warnings[0].find("auto_map"), std::string::npos);
}

TEST(Config, WindowCountsWhereItCounts) {
  const auto window = [](const std::string& text) {
    const auto config = parse(text);
    return config ? config->sliding_window : -1;
  };
  EXPECT_EQ(window(mistral(R"("num_key_value_heads": 2)")), 4096) << "absent is not null";
  EXPECT_EQ(window(mistral(R"("num_key_value_heads": 2, "sliding_window": null)")), 0);
  EXPECT_EQ(window(mistral(R"("num_key_value_heads": 2, "sliding_window": 7)")), 7);
  EXPECT_EQ(window(mistral(R"("num_key_value_heads": 2, "sliding_window": 7, "use_sliding_window": false)")), 7);
  EXPECT_EQ(parse(mistral(R"("x": 0)")).error().rule, "config.kv_heads") << "absent: 8 kv heads";
  EXPECT_EQ(window(qwen(2, R"("sliding_window": 7)")), 0);
  EXPECT_EQ(window(qwen(2, R"("sliding_window": 7, "use_sliding_window": true, "max_window_layers": 0)")), 7);
  EXPECT_EQ(window(qwen(2, R"("sliding_window": 7, "use_sliding_window": true, "max_window_layers": 2)")), 0);
  EXPECT_EQ(window(qwen(2, R"("sliding_window": 7, "use_sliding_window": true)")), 0) << "from layer 28 on: none";
  EXPECT_EQ(window(qwen(3, R"("sliding_window": 7, "use_sliding_window": true,
      "layer_types": ["sliding_attention", "sliding_attention"])")),
            7);
  EXPECT_EQ(window(qwen(3, R"("layer_types": ["full_attention", "full_attention"])")), 0);
}

TEST(Config, GenerationConfigAddsEndTokens) {
  ASSERT_VALUE(const ModelConfig merged,
               parse(small(R"("eos_token_id": 2)"), R"({"eos_token_id": [3, 2], "bos_token_id": 1})"));
  EXPECT_EQ(merged.eos, (std::vector<TokenId>{2, 3}));
  EXPECT_EQ(merged.bos, 1);
  const auto outside = parse(small(R"("eos_token_id": 2)"), R"({"eos_token_id": [3, 100]})");
  EXPECT_EQ(outside.error().rule, "config.token_id");
  EXPECT_EQ(outside.error().file, "generation_config.json");
  EXPECT_EQ(outside.error().offset, 21);
}

struct Bad {
  const char* extra;  // replaces a field that means nothing
  const char* rule;
  const char* field;
  const char* at;  // the error's offset is where this text begins
  ErrorKind kind = ErrorKind::invalid_input;
};

constexpr ErrorKind kUnsupported = ErrorKind::unsupported;
const Bad kBad[] = {
    {R"("head_dim": 0)", "config.range", "head_dim", "0}"},
    {R"("head_dim": 15)", "config.head_dim", "head_dim", "15}"},
    {R"("num_key_value_heads": 8)", "config.kv_heads", "num_key_value_heads", "8}"},
    {R"("num_key_value_heads": 3)", "config.kv_heads", "num_key_value_heads", "3}"},
    {R"("num_key_value_heads": 0)", "config.range", "num_key_value_heads", "0}"},
    {R"("num_key_value_heads": -0)", "json.integer", "num_key_value_heads", "-0}"},
    {R"("max_position_embeddings": 18446744073709551616)", "json.range", "max_position_embeddings", "18446744"},
    {R"("max_position_embeddings": 2048.0)", "json.integer", "max_position_embeddings", "2048.0"},
    {R"("max_position_embeddings": "2048")", "json.type", "max_position_embeddings", "\"2048\""},
    {R"("rms_norm_eps": NaN)", "json.number", "rms_norm_eps", "NaN"},
    {R"("rms_norm_eps": 1e999)", "json.number", "rms_norm_eps", "1e999"},
    {R"("rms_norm_eps": -1e-5)", "config.rms_norm_eps", "rms_norm_eps", "-1e-5"},
    {R"("rms_norm_eps": "1e-5")", "json.type", "rms_norm_eps", "\"1e-5\""},
    {R"("hidden_size": 64)", "json.duplicate_key", "hidden_size", "\"hidden_size\": 64}"},
    {R"("hidden_size": 65)", "json.duplicate_key", "hidden_size", "\"hidden_size\": 65}"},
    {R"("rope_theta": 0)", "config.rope_theta", "rope_theta", "0}"},
    {R"("rope_theta": -1.0)", "config.rope_theta", "rope_theta", "-1.0}"},
    {R"("rope_theta": NaN)", "json.number", "rope_theta", "NaN"},
    {R"("rope_parameters": {"rope_theta": 0})", "config.rope_theta", "rope_parameters.rope_theta", "0}"},
    {R"("rope_scaling": {"type": "linear", "factor": 0.0})", "config.rope_factor", "rope_scaling.factor", "0.0}"},
    {R"("rope_scaling": {"type": "linear"})", "json.missing", "rope_scaling.factor", "{\"type\""},
    {R"("rope_scaling": {"factor": 2.0})", "json.missing", "rope_scaling.rope_type", "{\"factor\""},
    {R"("rope_scaling": {"type": "linear", "rope_type": "llama3", "factor": 2.0})", "config.rope_conflict",
     "rope_scaling.type", "\"linear\""},
    {R"("rope_scaling": {"type": "yarn", "factor": 2.0})", "config.rope_type", "rope_scaling.type", "\"yarn\"",
     kUnsupported},
    {R"("rope_scaling": {"type": "dynamic", "factor": 2.0})", "config.rope_type", "rope_scaling.type", "\"dynamic\"",
     kUnsupported},
    {R"("rope_parameters": {"rope_type": "longrope"})", "config.rope_type", "rope_parameters.rope_type", "\"longrope\"",
     kUnsupported},
    {R"("rope_parameters": {"full_attention": {"rope_type": "default"}})", "config.rope_per_layer",
     "rope_parameters.full_attention", "{\"rope_type\"", kUnsupported},
    {R"("rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5})", "config.partial_rotary_factor",
     "rope_parameters.partial_rotary_factor", "0.5}", kUnsupported},
    {R"("rope_theta": 5.0, "rope_parameters": {"rope_theta": 6.0})", "config.rope_conflict", "rope_theta", "5.0,"},
    {R"("rope_scaling": {"type": "linear", "factor": 2.0}, "rope_parameters": {"rope_type": "default"})",
     "config.rope_conflict", "rope_scaling", "{\"type\""},
    {R"("rope_scaling": {"type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 4.0})",
     "config.rope_factor", "rope_scaling.high_freq_factor", "4.0}"},
    {R"("rope_scaling": {"type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
      "original_max_position_embeddings": 0})",
     "config.range", "rope_scaling.original_max_position_embeddings", "0}"},
    {R"("eos_token_id": 100)", "config.token_id", "eos_token_id", "100}"},
    {R"("eos_token_id": [1, -1])", "config.token_id", "eos_token_id[1]", "-1]"},
    {R"("bos_token_id": 100)", "config.token_id", "bos_token_id", "100}"},
    {R"("bos_token_id": "<s>")", "json.type", "bos_token_id", "\"<s>\""},
    {R"("hidden_act": "gelu")", "config.hidden_act", "hidden_act", "\"gelu\"", kUnsupported},
    {R"("mlp_bias": true)", "config.mlp_bias", "mlp_bias", "true", kUnsupported},
    {R"("sliding_window": 128)", "config.sliding_window", "sliding_window", "128", kUnsupported},
    {R"("sliding_window": 0)", "config.sliding_window", "sliding_window", "0}"},
    {R"("layer_types": ["full_attention"])", "config.layer_types", "layer_types", "[\"full"},
    {R"("layer_types": ["full_attention", "chunked_attention"])", "config.layer_types", "layer_types[1]", "\"chunked",
     kUnsupported},
    {R"("layer_types": ["full_attention", "sliding_attention"])", "config.layer_types", "layer_types", "[\"full",
     kUnsupported},
    {R"("quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128})", "config.quantization_config",
     "quantization_config", "{\"quant", kUnsupported},
    {R"("attn_logit_softcapping": 50.0)", "config.attn_logit_softcapping", "attn_logit_softcapping", "50.0",
     kUnsupported},
    {R"("partial_rotary_factor": 0.5)", "config.partial_rotary_factor", "partial_rotary_factor", "0.5", kUnsupported},
    {R"("tie_word_embeddings": 1)", "json.type", "tie_word_embeddings", "1}"},
    {"\"a\": \"\\ud800\"", "json.surrogate", "a", "\\ud800"},
    {"\"a\": \"\xff\"", "json.utf8", "a", "\xff"},
};

TEST(Config, RefusesByName) {
  for (const Bad& bad : kBad) {
    SCOPED_TRACE(bad.extra);
    const std::string text = small(bad.extra);
    const auto result = parse(text);
    ASSERT_FALSE(result);
    const Error& error = result.error();
    EXPECT_EQ(error.kind, bad.kind) << error.message();
    EXPECT_EQ(error.rule, bad.rule) << error.message();
    EXPECT_EQ(error.field, bad.field) << error.message();
    EXPECT_EQ(error.offset, text.rfind(bad.at)) << error.message();
    EXPECT_EQ(error.file, "config.json");
  }
}

struct BadField {
  const char *from, *to;  // an edit of the small config
  const char *rule, *field;
};
const BadField kBadFields[] = {
    {R"("num_attention_heads": 4)", R"("num_attention_heads": 0)", "config.range", "num_attention_heads"},
    {R"("num_attention_heads": 4)", R"("num_attention_heads": 5)", "config.hidden_size", "hidden_size"},
    {R"("num_hidden_layers": 2)", R"("num_hidden_layers": 0)", "config.range", "num_hidden_layers"},
    {R"("num_hidden_layers": 2)", R"("num_hidden_layers": -2)", "config.range", "num_hidden_layers"},
    {R"("num_hidden_layers": 2)", R"("num_hidden_layers": 1000000000)", "config.range", "num_hidden_layers"},
    {R"("num_hidden_layers": 2)", R"("num_hidden_layers": 1.5)", "json.integer", "num_hidden_layers"},
    {R"("vocab_size": 100)", R"("vocab_size": 0)", "config.range", "vocab_size"},
    {R"("vocab_size": 100)", R"("vocab_size": null)", "json.type", "vocab_size"},
    {R"("vocab_size": 100, )", "", "json.missing", "vocab_size"},
    {R"("hidden_size": 64)", R"("hidden_size": 0)", "config.range", "hidden_size"},
    {R"("intermediate_size": 96)", R"("intermediate_size": -96)", "config.range", "intermediate_size"},
    {R"("LlamaForCausalLM")", R"("BertModel")", "config.architecture", "architectures[0]"},
    {R"("LlamaForCausalLM")", R"("MistralForCausalLM")", "config.conflict", "architectures[0]"},
    {R"("model_type": "llama")", R"("model_type": "gpt_neox")", "config.architecture", "model_type"},
    {R"("architectures": ["LlamaForCausalLM"], "model_type": "llama", )", "", "json.missing", "model_type"},
};

TEST(Config, RefusesSizesAndFamiliesByName) {
  for (const BadField& bad : kBadFields) {
    SCOPED_TRACE(bad.to);
    const auto result = parse(with(kSmall, bad.from, bad.to));
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().rule, bad.rule) << result.error().message();
    EXPECT_EQ(result.error().field, bad.field) << result.error().message();
    EXPECT_TRUE(result.error().offset);
  }
  EXPECT_EQ(parse("[1]").error().rule, "json.type");
  EXPECT_EQ(parse("").error().rule, "json.empty");
  EXPECT_EQ(parse(std::string("\xEF\xBB\xBF") + kSmall).error().rule, "json.bom");
  EXPECT_EQ(read_config(MemoryFiles()).error().rule, "model.no_config");
  EXPECT_EQ(parse(qwen(2, R"("use_sliding_window": true, "sliding_window": 8, "max_window_layers": 1)")).error().rule,
            "config.sliding_window");
  EXPECT_EQ(parse(mistral(R"("attention_bias": true, "num_key_value_heads": 4)")).error().rule,
            "config.attention_bias");
  EXPECT_EQ(parse(qwen(3, R"("layer_types": ["sliding_attention", "sliding_attention"])")).error().rule,
            "config.conflict");
}

TEST(Config, WrittenConfigsReadBackEqual) {
  std::vector<ModelConfig> configs;
  for (const char* name : {"demo", "llama2", "llama3", "llama-linear", "mistral", "qwen2", "qwen3", "llama-sharded"})
    configs.push_back(read_fixture(name));
  for (const std::string& name : synthetic_names()) configs.push_back(synthetic_named(name)->config);
  ASSERT_VALUE(configs.emplace_back(), parse(small(R"("attention_bias": true)")));
  ASSERT_VALUE(configs.emplace_back(), parse(mistral(R"("num_key_value_heads": 2, "sliding_window": null)")));
  ASSERT_VALUE(configs.emplace_back(), parse(qwen(2, R"("use_sliding_window": true, "max_window_layers": 0)")));
  for (const ModelConfig& config : configs) {
    const std::string text = write_config(config);
    ASSERT_VALUE(const ModelConfig again, parse(text));
    EXPECT_EQ(write_config(again), text);
    EXPECT_EQ(again.sliding_window, config.sliding_window) << text;
    EXPECT_EQ(std::tuple(again.qkv_bias, again.out_bias, again.qk_norm, again.parameters()),
              std::tuple(config.qkv_bias, config.out_bias, config.qk_norm, config.parameters()))
        << text;
    EXPECT_EQ(std::tuple(again.rope.type, again.rope.factor, again.rope.theta),
              std::tuple(config.rope.type, config.rope.factor, config.rope.theta));
    EXPECT_EQ(std::tuple(again.bos, again.eos), std::tuple(config.bos, config.eos));
  }
}

// From transformers' _compute_llama3_parameters, evaluated in double for the fixture llama3: the first two frequencies
// are short, between and long waves in turn.
TEST(Rope, FrequenciesOfLlama3AndLinear) {
  const std::vector<double> expected = {1.0,
                                        0.0794030091792082,
                                        0.004700753866357992,
                                        0.0009115830921521386,
                                        0.00017677669529663688,
                                        3.428102195952591e-05,
                                        6.647869871181236e-06,
                                        1.2891731721515574e-06};
  const std::vector<double> llama3 = rope_frequencies(read_fixture("llama3"));
  ASSERT_EQ(llama3.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(llama3[i] / expected[i], 1, 1e-14) << i;
  const std::vector<double> linear = rope_frequencies(read_fixture("llama-linear"));
  for (std::size_t i = 0; i < linear.size(); ++i)
    EXPECT_NEAR(linear[i] / (std::pow(10000.0, -static_cast<double>(i) / 8) / 2.5), 1, 1e-14);
}

TEST(Rope, TablesHoldAnglesOfDoublePrecision) {
  const ModelConfig config = read_fixture("llama2");
  const RopeTables tables = rope_tables(config, 4097);
  ASSERT_EQ(tables.cos.size(), 4097u * 8);
  EXPECT_EQ(tables.cos[0], 1.0f);
  const std::size_t at = 4096 * 8 + 1;  // position 4096, pair 1: angle 4096 / sqrt(10)
  EXPECT_EQ(tables.sin[at], static_cast<float>(std::sin(4096 * std::pow(10000.0, -0.125))));
  EXPECT_EQ(tables.cos[at], static_cast<float>(std::cos(4096 * std::pow(10000.0, -0.125))));
}

}  // namespace
}  // namespace rl::model
