// Generation on the level of text, with the demo model.

#include "engine/text.h"

#include "engine/fixture.h"

namespace rl::engine {
namespace {

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t n = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 0;
    if (n == 0 || i + n > text.size()) return false;
    for (std::size_t k = 1; k < n; ++k)
      if ((static_cast<unsigned char>(text[i + k]) & 0xC0) != 0x80) return false;
    i += n;
  }
  return true;
}

struct Text : testing::Test {
  TestBackend backend{false};
  std::unique_ptr<FileSet> files = folder_files(demo_folder());
  std::optional<model::Tokenizer> tokenizer;
  std::optional<PromptEncoder> encoder;
  std::unique_ptr<Engine> engine;

  void SetUp() override {
    ASSERT_VALUE(tokenizer, model::Tokenizer::load(*files));
    ASSERT_VALUE(engine,
                 make_engine("demo", *backend, {.precision = Precision::f32, .max_context = 256, .max_seqs = 1}));
    ASSERT_VALUE(encoder, PromptEncoder::make(*tokenizer, files.get(), engine->config()));
  }
  Result<TextResult> generate(const TextRequest& request, std::vector<std::string>* pieces = nullptr) {
    return TextGenerator(*tokenizer, *encoder, *engine).generate(request, [&](std::string_view piece) {
      if (pieces) pieces->emplace_back(piece);
      return true;
    });
  }
  TextRequest fibonacci{.prompt = "def fibonacci(n):\n", .max_tokens = 64};
  static constexpr const char* kFibonacci =
      "    \"\"\"Fibonacci function of the fibonacci function.\n\n    The function is defined as the function of the "
      "function\n    :math:`f(n)` and :math:`n` with the function :math:`n` with the function\n    :math:`n` with the "
      "function :";  // training.json, "samples"
};

TEST_F(Text, GreedyTextIsTheReferences) {
  std::vector<std::string> pieces;
  ASSERT_VALUE(const TextResult result, generate(fibonacci, &pieces));
  EXPECT_EQ(result.text, kFibonacci);
  EXPECT_EQ(result.finish, FinishReason::length);
  EXPECT_EQ(result.ids.size(), 64u);
  EXPECT_GT(pieces.size(), 30u) << "text comes as it is made";
  std::string joined;
  for (const std::string& piece : pieces) {
    EXPECT_FALSE(piece.empty());
    joined += piece;
  }
  EXPECT_EQ(joined, result.text);
}

TEST_F(Text, AStopStringAcrossTokensEndsTheTextBeforeIt) {
  for (const std::string stop : {"acci function.", "\n\n", "function is", "``f(n"}) {
    TextRequest request = fibonacci;
    request.stop = {"never there", stop};
    std::vector<std::string> pieces;
    ASSERT_VALUE(const TextResult result, generate(request, &pieces));
    const std::string text = kFibonacci;
    const std::size_t at = text.find(stop);
    EXPECT_EQ(result.text, text.substr(0, at)) << stop;
    EXPECT_EQ(result.finish, at == text.npos ? FinishReason::length : FinishReason::stop);
    EXPECT_EQ(result.ids.size() < 64, at != text.npos);
    std::string joined;
    for (const std::string& piece : pieces) joined += piece;
    EXPECT_EQ(joined, result.text);
    EXPECT_TRUE(engine->idle());
  }
  TextRequest request = fibonacci;
  request.stop = {""};
  EXPECT_EQ(generate(request).error().rule, "request.stop");
}

TEST_F(Text, EndTokensEndTheTextAndAreNotPartOfIt) {
  // High temperature over a short vocabulary meets the end token soon; the seed is the first that does.
  TextRequest request{.prompt = "x", .sampling = {.temperature = 3}, .max_tokens = 200};
  std::optional<TextResult> stopped;
  for (request.sampling.seed = 0; request.sampling.seed < 200 && !stopped; ++request.sampling.seed) {
    ASSERT_VALUE(TextResult result, generate(request));
    if (result.finish == FinishReason::stop) stopped = std::move(result);
  }
  ASSERT_TRUE(stopped) << "no seed reached the end token";
  EXPECT_EQ(stopped->ids.back(), engine->config().eos.at(0));
  EXPECT_EQ(stopped->text, tokenizer->decode({stopped->ids.data(), stopped->ids.size() - 1}, true));
  EXPECT_TRUE(is_utf8(stopped->text));
  --request.sampling.seed;
  request.ignore_eos = true;
  ASSERT_VALUE(const TextResult on, generate(request));
  EXPECT_EQ(on.finish, FinishReason::length);
  EXPECT_EQ(on.ids.size(), 200u);
  EXPECT_TRUE(std::equal(stopped->ids.begin(), stopped->ids.end(), on.ids.begin()));
}

TEST_F(Text, PiecesNeverCutACharacter) {
  const std::string text = "naïve café — ∑ 🚀 日本語テスト é👩‍👩‍👧";
  ASSERT_VALUE(const auto ids, tokenizer->encode(text, false));
  for (const std::vector<std::string>& stops : {std::vector<std::string>{}, {"🚀🚀", "é!"}}) {
    TextStream stream(*tokenizer, stops);
    std::string joined;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      TokenEvent event{.token = ids[i], .index = static_cast<std::int64_t>(i)};
      if (i + 1 == ids.size()) event.finished = FinishReason::length;
      const std::string piece = stream.push(event);
      EXPECT_TRUE(is_utf8(piece)) << i;
      joined += piece;
    }
    EXPECT_EQ(joined, text);
  }
}

TEST_F(Text, AnyTextSampledIsValidUtf8) {
  TextRequest request{.prompt = "# ", .sampling = {.temperature = 5}, .max_tokens = 200, .ignore_eos = true};
  std::vector<std::string> pieces;
  ASSERT_VALUE(const TextResult result, generate(request, &pieces));
  for (const std::string& piece : pieces) EXPECT_TRUE(is_utf8(piece));
  EXPECT_EQ(result.text, tokenizer->decode(result.ids, true));
}

TEST_F(Text, TheCallerCanEndIt) {
  int calls = 0;
  ASSERT_VALUE(const TextResult result,
               TextGenerator(*tokenizer, *encoder, *engine).generate(fibonacci, [&](auto) { return ++calls < 3; }));
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(result.finish, FinishReason::cancelled);
  EXPECT_TRUE(engine->idle());
  ASSERT_VALUE(const TextResult whole, generate(fibonacci));
  EXPECT_EQ(whole.text, kFibonacci);
}

TEST_F(Text, FiguresAddUp) {
  ASSERT_VALUE(const TextResult result, generate(fibonacci));
  const GenerationStats& stats = result.stats;
  EXPECT_EQ(stats.prompt_tokens, std::ssize(result.prompt_ids));
  EXPECT_EQ(stats.generated_tokens, 64);
  EXPECT_GT(stats.ttft.count, 0);
  ASSERT_TRUE(stats.tpot && stats.tokens_per_second);
  EXPECT_DOUBLE_EQ(stats.tpot->count * 63, stats.decode.count);
  EXPECT_NEAR(*stats.tokens_per_second * stats.tpot->count, 1, 1e-12);
  // Decode step i of 63 sees prompt + i tokens.
  const double mean_context = static_cast<double>(stats.prompt_tokens) + (1 + 63) / 2.0;
  EXPECT_EQ(stats.bytes_per_token.count, std::llround(decode_bytes(*engine, mean_context)));
  EXPECT_EQ(engine->kv_bytes_per_token().count, 2 * 8 * 2 * 64 * 4);
  // Every weight but the rows of the embedding that are not the head; here they are tied.
  EXPECT_GE(engine->weight_bytes_per_token().count, engine->config().parameters() * 4);

  TextRequest one = fibonacci;
  one.max_tokens = 1;
  ASSERT_VALUE(const TextResult single, generate(one));
  EXPECT_FALSE(single.stats.tpot) << "one token has no time per output token";
}

TEST_F(Text, TheDemoPromptBeginsWithItsBosOnce) {
  ASSERT_VALUE(const auto plain, tokenizer->encode("import os", true));
  ASSERT_VALUE(const auto ids, encoder->encode("import os"));
  ASSERT_EQ(plain.size() + 1, ids.size());
  EXPECT_EQ(ids.front(), 0);
  ASSERT_VALUE(const auto typed, encoder->encode("<|begin_of_text|>import os"));
  EXPECT_EQ(typed, ids);
  ASSERT_VALUE(const auto empty, encoder->encode(""));
  EXPECT_EQ(empty, std::vector<TokenId>{0});
  ASSERT_VALUE(const auto never, PromptEncoder::make(*tokenizer, files.get(), engine->config(), BosPolicy::never));
  ASSERT_VALUE(const auto bare, never.encode("import os"));
  EXPECT_EQ(bare, plain);
}

// Files with a given tokenizer_config.json and the demo's tokenizer.json.
class ConfigFiles final : public FileSet {
 public:
  explicit ConfigFiles(std::string config) : config_(std::move(config)) {}
  std::string name() const override { return "test"; }
  bool exists(std::string_view file) const override { return file == "tokenizer_config.json"; }
  Result<FileView> open(std::string_view file) const override {
    return FileView::of_string(std::string(file), config_);
  }
  bool leads_outside(std::string_view) const override { return false; }

 private:
  std::string config_;
};

TEST_F(Text, WhetherABosIsAddedFollowsTheModelsFiles) {
  const auto bos = [&](const std::string& config, BosPolicy policy = BosPolicy::automatic) {
    const ConfigFiles given(config);
    const auto made = PromptEncoder::make(*tokenizer, &given, engine->config(), policy);
    if (!made) return "error " + made.error().rule;
    return made->bos() ? std::to_string(*made->bos()) : std::string("none");
  };
  const std::string named = R"("bos_token": "<|begin_of_text|>")";
  EXPECT_EQ(bos("{" + named + "}"), "0");
  EXPECT_EQ(bos(R"({"bos_token": {"content": "<|begin_of_text|>"}})"), "0");
  EXPECT_EQ(bos("{" + named + R"(, "add_bos_token": false})"), "none");
  EXPECT_EQ(bos("{" + named + R"(, "tokenizer_class": "GPT2Tokenizer"})"), "none");
  EXPECT_EQ(bos("{" + named + R"(, "tokenizer_class": "GPT2Tokenizer", "add_bos_token": true})"), "0");
  EXPECT_EQ(bos(R"({"bos_token": null, "add_bos_token": false, "tokenizer_class": "Qwen2Tokenizer"})"), "none");
  EXPECT_EQ(bos(R"({"bos_token": null})"), "none");
  EXPECT_EQ(bos(R"({"bos_token": "<|end_of_text|>"})"), "none") << "config.json names another";
  EXPECT_EQ(bos(R"({"bos_token": null})", BosPolicy::always), "0");
  EXPECT_EQ(bos("{" + named + "}", BosPolicy::never), "none");
  EXPECT_EQ(bos("[1]"), "error tokenizer_config.json");
  EXPECT_EQ(bos("{"), "error tokenizer_config.json");
}

}  // namespace
}  // namespace rl::engine
