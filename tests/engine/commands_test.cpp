// `redline generate` and `redline logits` as functions: what they print and write, and what they refuse.

#include <filesystem>
#include <fstream>

#include <nlohmann/json.hpp>

#include "app/cmd_generate.h"
#include "app/cmd_logits.h"
#include "engine/fixture.h"

namespace rl::engine {
namespace {

namespace fs = std::filesystem;

struct Commands : testing::Test {
  TestBackend backend{false};
  fs::path folder;

  void SetUp() override {
    std::string path = (fs::temp_directory_path() / "redline_commands.XXXXXX").string();
    ASSERT_NE(::mkdtemp(path.data()), nullptr);
    folder = path;
  }
  void TearDown() override { fs::remove_all(folder); }

  fs::path write(const std::string& name, const std::string& content) {
    std::ofstream(folder / name, std::ios::binary) << content;
    return folder / name;
  }
  Result<std::string> generate(const app::GenerateOptions& options) {
    std::FILE* out = std::tmpfile();
    RL_CHECK(out != nullptr);
    Status status = app::cmd_generate(
        options, *backend, [](const char*) { return Result<BytesPerSecond>(BytesPerSecond{1e11}); }, out);
    std::string text(static_cast<std::size_t>(std::ftell(out)), '\0');
    std::rewind(out);
    text.resize(std::fread(text.data(), 1, text.size(), out));
    std::fclose(out);
    if (!status) return std::move(status).error();
    return text;
  }
  std::string logits_rule(const std::string& ids) {
    const Status status = app::cmd_logits(
        {.model = folder_of("llama2"), .ids_file = write("ids", ids), .out = folder / "out.safetensors"}, *backend);
    return status ? "ok" : status.error().rule + " " + std::to_string(status.error().offset.value_or(-1));
  }
};

TEST_F(Commands, GenerateJsonHoldsTheTextAndItsFigures) {
  ASSERT_VALUE(
      const std::string text,
      generate(
          {.model = demo_folder(), .prompt = "def fibonacci(n):\n", .max_tokens = 16, .format = "fp32", .json = true}));
  const auto object = nlohmann::json::parse(text);
  EXPECT_EQ(object["text"].get<std::string>().substr(0, 22), "    \"\"\"Fibonacci funct");
  EXPECT_EQ(object["predicted_n"], 16);
  EXPECT_EQ(object["ids"].size(), 16u);
  EXPECT_EQ(object["prompt_n"], object["prompt_ids"].size());
  EXPECT_EQ(object["finish_reason"], "length");
  EXPECT_NEAR(object["predicted_ms"].get<double>(), 15 * object["tpot_ms"].get<double>(), 1e-9);
  const double rate = object["bytes_per_token"].get<double>() / object["tpot_ms"].get<double>() * 1e3;
  EXPECT_NEAR(object["read_bandwidth_share"].get<double>(), rate / 1e11, 1e-9);
  EXPECT_FALSE(object["path"].empty());
}

TEST_F(Commands, GenerateStreamsTheTextAlone) {
  const fs::path prompt = write("prompt.txt", "def fibonacci(n):\n");
  ASSERT_VALUE(
      const std::string text,
      generate({.model = demo_folder(), .file = prompt, .max_tokens = 40, .stop = {"function"}, .format = "fp32"}));
  EXPECT_EQ(text, "    \"\"\"Fibonacci \n");
}

TEST_F(Commands, GenerateRefusesWhatItCannotDo) {
  EXPECT_EQ(generate({.model = demo_folder(), .format = "fp7"}).error().rule, "engine.format");
  EXPECT_EQ(generate({.model = demo_folder(), .prompt = "x", .max_tokens = 0}).error().rule, "request.max_tokens");
  EXPECT_EQ(generate({.model = demo_folder(), .prompt = "x", .ctx = 4096}).error().rule, "engine.max_context");
  EXPECT_EQ(generate({.model = demo_folder(), .prompt = "import os import sys", .ctx = 3}).error().rule,
            "request.context");
  EXPECT_EQ(generate({.model = demo_folder(), .prompt = "x", .file = "y"}).error().kind, ErrorKind::usage);
  EXPECT_EQ(generate({.model = demo_folder(), .file = folder / "missing"}).error().kind, ErrorKind::io);
}

TEST_F(Commands, LogitsOfAFileAreTheGoldenOnes) {
  ASSERT_VALUE(const Golden golden, Golden::open(folder_of("qwen3")));
  std::string ids;
  for (const TokenId id : golden.ids("len64.input_ids")) ids += std::to_string(id) + (id % 3 ? " " : "\r\n\t");
  // A checkpoint of one tensor, so that the reader of checkpoints reads it.
  const fs::path out = folder / "golden.safetensors";
  ASSERT_OK(app::cmd_logits({.model = folder_of("qwen3"), .ids_file = write("ids", ids), .out = out}, *backend));
  ASSERT_VALUE(const Golden written, Golden::open(folder));
  const auto got = written.floats("logits"), expected = golden.floats("len64.logits");
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], expected[i], tolerance_of("qwen3")) << i;
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), fs::directory_iterator()), 2) << "no temporary file is left";
}

TEST_F(Commands, LogitsNamesTheBadTokenAndWritesNothing) {
  EXPECT_EQ(logits_rule(" 1 2x 3"), "logits.ids_file 3");
  EXPECT_EQ(logits_rule("1 320"), "logits.token_id 2");
  EXPECT_EQ(logits_rule("-1"), "logits.token_id 0");
  EXPECT_EQ(logits_rule("1,2"), "logits.ids_file 0");
  EXPECT_EQ(logits_rule("99999999999999999999"), "logits.ids_file 0");
  EXPECT_EQ(logits_rule(" \n"), "logits.empty -1");
  std::string many;
  for (int i = 0; i < 513; ++i) many += "1 ";
  EXPECT_EQ(logits_rule(many), "logits.length -1");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), fs::directory_iterator()), 1);
  const Status missing =
      app::cmd_logits({.model = folder_of("llama2"), .ids_file = folder / "none", .out = folder / "o"}, *backend);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().kind, ErrorKind::io);
  const Status no_folder = app::cmd_logits(
      {.model = folder_of("llama2"), .ids_file = write("ids", "1"), .out = folder / "no" / "o"}, *backend);
  ASSERT_FALSE(no_folder);
  EXPECT_EQ(no_folder.error().kind, ErrorKind::io);
}

}  // namespace
}  // namespace rl::engine
