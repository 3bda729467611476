// Golden values through the commands a user has: logits, generate, quality, tokenize.

#include <gmock/gmock.h>

#include "base/file.h"
#include "check/result.h"
#include "e2e/program.h"
#include "model/json.h"
#include "model/model.h"

namespace rl::e2e {
namespace {

namespace json = model::json;

// A tensor of a safetensors file, converted to double.
std::vector<double> read_tensor(const std::filesystem::path& file, const std::string& name) {
  const auto view = map_file(file);
  RL_CHECK_MSG(view.has_value(), file.string());
  std::uint64_t length = 0;
  std::memcpy(&length, view->bytes().data(), 8);
  const auto header = json::Document::parse(file.string(), std::string(view->text().substr(8, length)), 8);
  RL_CHECK(header.has_value());
  const auto entry = header->root().find(name);
  RL_CHECK_MSG(entry.has_value(), name);
  const auto offsets = entry->find("data_offsets");
  auto item = offsets->items().begin();
  const std::int64_t begin = (*item).value.integer().value();
  ++item;
  const std::int64_t end = (*item).value.integer().value();
  const bool is_float = entry->find("dtype")->string().value() == "F32";
  std::vector<double> values;
  const std::byte* data = view->bytes().data() + 8 + length;
  for (std::int64_t at = begin; at < end; at += 4) {
    float f = 0;
    std::int32_t i = 0;
    std::memcpy(&f, data + at, 4);
    std::memcpy(&i, data + at, 4);
    values.push_back(is_float ? static_cast<double>(f) : static_cast<double>(i));
  }
  return values;
}

std::string ids_text(const std::vector<double>& ids) {
  std::string text;
  for (const double id : ids) text += fmt::format("{:.0f}\n", id);
  return text;
}

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    if (!(std::abs(a[i] - b[i]) <= largest)) largest = std::abs(a[i] - b[i]);
    if (std::isnan(largest)) break;
  }
  return largest;
}

void check_logits(const std::string& model, const std::filesystem::path& golden, const std::string& prefix,
                  double tolerance) {
  const Scratch scratch;
  write_text(scratch / "ids", ids_text(read_tensor(golden, prefix + ".input_ids")));
  std::vector<std::string> command{
      "logits", "--precision", "fp32", "--ids-file", (scratch / "ids").string(), "-o", (scratch / "out").string()};
  if (!model.empty()) command.insert(command.end(), {"-m", model});
  const Finished finished = redline(command);
  ASSERT_EQ(finished.status, 0) << finished.err;
  EXPECT_LE(largest_difference(read_tensor(scratch / "out", "logits"), read_tensor(golden, prefix + ".logits")),
            tolerance)
      << model << " " << prefix;
}

TEST(Parity, LogitsOfTheDemoModel) {
  for (const char* prompt : {"prompt0", "prompt1", "prompt2"})
    check_logits("", REDLINE_SOURCE_DIR "/models/demo/golden.safetensors", prompt, 1e-3);
}

TEST(Parity, LogitsOfEveryFamily) {
  const std::filesystem::path models = REDLINE_SOURCE_DIR "/tests/data/models";
  const auto file = map_file(models / "manifest.json");
  ASSERT_OK(file);
  const auto manifest = json::Document::parse(*file);
  ASSERT_OK(manifest);
  int checked = 0;
  for (const auto& [name, entry] : manifest->root().find("models")->items()) {
    const double tolerance = entry.find("tolerance")->number().value();
    for (const char* length : {"len1", "len7", "len64", "len130"})
      check_logits((models / std::string(name)).string(), models / std::string(name) / "golden.safetensors", length,
                   tolerance);
    ++checked;
  }
  EXPECT_EQ(checked, 7);
}

TEST(Parity, GreedyTextOfTheDemoModel) {
  const std::filesystem::path golden = REDLINE_SOURCE_DIR "/models/demo/golden.safetensors";
  const char* prompts[] = {"def fibonacci(n):\n", "import os\nimport sys\n\nclass ",
                           "# Return the number of days between two dates\n"};
  for (int i = 0; i < 3; ++i) {
    const auto golden_ids = read_tensor(golden, fmt::format("prompt{}.greedy_ids", i));
    const auto prompt_ids = read_tensor(golden, fmt::format("prompt{}.input_ids", i));
    const Finished finished = redline({"generate", prompts[i], "-n", "64", "--precision", "fp32", "--json"});
    ASSERT_EQ(finished.status, 0) << finished.err;
    const auto answer = json::Document::parse("answer", finished.out, 0);
    ASSERT_OK(answer);
    EXPECT_EQ(answer->root().find("prompt_n")->integer().value(), std::ssize(prompt_ids)) << "the begin token included";
    std::vector<double> ids;
    for (const auto& [key, id] : answer->root().find("ids")->items())
      ids.push_back(static_cast<double>(id.integer().value()));
    EXPECT_EQ(ids, std::vector<double>(golden_ids.begin() + std::ssize(prompt_ids), golden_ids.end())) << prompts[i];
  }
}

TEST(Parity, PerplexityOfTheHeldOutText) {
  const Finished finished = redline({"quality", "--precision", "fp32", "--json"});
  ASSERT_EQ(finished.status, 0) << finished.err;
  const auto answer = json::Document::parse("answer", finished.out, 0);
  ASSERT_OK(answer);
  // training.json: over 105,093 tokens, from PyTorch in float32
  const double reference = 8.847038902861783;
  EXPECT_NEAR(answer->root().find("mean_ppl")->number().value(), reference, 1e-4 * reference);
}

TEST(Parity, TokenizeAnswersCasesWithJsonAndNothingElse) {
  const std::filesystem::path tokenizer = REDLINE_SOURCE_DIR "/tests/data/tokenizers/llama3";
  const Finished finished =
      redline({"tokenize", "-m", tokenizer.string(), "--cases", (tokenizer / "cases.json").string(), "--json"});
  ASSERT_EQ(finished.status, 0) << finished.err;
  const auto answer = json::Document::parse("answer", finished.out, 0);
  ASSERT_OK(answer);
  const auto file = map_file(tokenizer / "cases.json");
  ASSERT_OK(file);
  const auto cases = json::Document::parse(*file);
  ASSERT_OK(cases);
  ASSERT_EQ(answer->root().size(), cases->root().size());
  auto given = answer->root().items().begin();
  for (const auto& [key, expected] : cases->root().items()) {
    const json::Value found = (*given).value;
    std::vector<std::int64_t> ids[2];
    for (const auto& [k, id] : found.find("ids")->items()) ids[0].push_back(id.integer().value());
    for (const auto& [k, id] : expected.find("ids")->items()) ids[1].push_back(id.integer().value());
    EXPECT_EQ(ids[0], ids[1]);
    const auto decoded = expected.find("decoded") ? expected.find("decoded") : expected.find("text");
    EXPECT_EQ(found.find("decoded")->string().value(), decoded->string().value());
    ++given;
  }
}

}  // namespace
}  // namespace rl::e2e
