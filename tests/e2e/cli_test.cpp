// What commands answer, and how they refuse.

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "check/result.h"
#include "e2e/program.h"
#include "model/json.h"

namespace rl::e2e {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Cli, HelpAndVersionSucceed) {
  const Finished help = redline({"--help"});
  EXPECT_EQ(help.status, 0);
  for (const char* verb :
       {"run", "experiment", "bench", "generate", "logits", "quality", "tokenize", "report", "history", "doctor"})
    EXPECT_THAT(help.out, HasSubstr(std::string("\n  ") + verb + " ")) << verb;
  const Finished version = redline({"--version"});
  EXPECT_EQ(version.status, 0);
  EXPECT_THAT(version.out, HasSubstr("backends: cpu"));
}

TEST(Cli, WrongUseIsStatusFourWithAReasonOnStandardError) {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{},
                                             {"fly"},
                                             {"run", "--no-such-flag"},
                                             {"run", "--quick", "--full"},
                                             {"run", "--only", "nothing"},
                                             {"experiment"},
                                             {"experiment", "nothing"},
                                             {"experiment", "attention", "--sequence", "128"},
                                             {"experiment", "attention", "--seq", "8..4"},
                                             {"experiment", "attention", "stray"},
                                             {"generate", "x", "--precision", "int3"},
                                             {"generate", "x", "--device", "tpu"},
                                             {"generate", "x", "--isa", "mmx"},
                                             {"generate", "x", "--threads", "-1"},
                                             {"generate", "x", "--force", "attention=attention/none"},
                                             {"generate", "x", "--force", "attention"},
                                             {"bench", "-o", "xml"},
                                             {"bench", "-p", "-5"},
                                             {"bench", "-p", "0", "-n", "0"},
                                             {"bench", "-b", "8,0"},
                                             {"bench", "-d", "-1"},
                                             {"bench", "--seed", "-1"},
                                             {"run", "--seed", "1.5"},
                                             {"run", "--max-kld", "nan"},
                                             {"run", "--max-ppl-loss", "inf"},
                                             {"run", "--max-foreign-load", "nan"},
                                             {"run", "--max-foreign-load", "1.5"},
                                             {"run", "--out", ""},
                                             {"run", "--baseline", ""},
                                             {"run", "--save-baseline", ""},
                                             {"quality", "--formats", "int8", "--prompts", "0"},
                                             {"selftest", "--only", "nothing"},
                                             {"logits"}}) {
    const Finished finished = redline(arguments);
    EXPECT_EQ(finished.status, 4) << testing::PrintToString(arguments) << finished.err;
    EXPECT_FALSE(finished.err.empty()) << testing::PrintToString(arguments);
  }
}

TEST(Cli, AnAxisTakesNoValueThatItCannotHave) {
  const Scratch scratch;
  const std::string runs = (scratch / "runs").string();
  using Case = std::array<std::string, 3>;
  for (const auto& [axis, value, expected] :
       {Case{"--seq", "abc", "a whole number from 1 to 1048576"}, Case{"--seq", "64,0", "a whole number from 1 to"},
        Case{"--seq", "-5", "a whole number from 1 to 1048576"}, Case{"--seq", "9999999999999", "a whole number from"},
        Case{"--causal", "maybe", "no, yes"}}) {
    const Finished finished = redline({"run", "--only", "power,attention", axis, value, "--runs", runs});
    EXPECT_EQ(finished.status, 4) << value << finished.err;
    EXPECT_THAT(finished.err,
                HasSubstr("the axis has no such value\n  where:    field '" + axis + "'\n  expected: " + expected))
        << value;
  }
  EXPECT_FALSE(std::filesystem::exists(runs)) << "nothing was begun";
}

TEST(Cli, InputsThatFitNoMemoryAreARowThatSaysSo) {
  const Scratch scratch;
  const Finished finished =
      redline({"experiment", "attention", "--seq", "1048576", "--batch", "1048576", "--heads", "1048576", "--head_dim",
               "1048576", "--causal", "no", "--json", "--runs", (scratch / "runs").string()});
  EXPECT_EQ(finished.status, 0) << finished.err;
  EXPECT_THAT(finished.out, HasSubstr("Q, K, V and O do not fit: more than the "));
}

TEST(Cli, ATextThatIsNotUtf8IsNamedWithItsFile) {
  const Scratch scratch;
  const std::string file = (scratch / "text").string();
  write_text(file, "fine\xff");
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{"generate", "-f", file}, {"quality", "--text", file}}) {
    const Finished finished = redline(arguments);
    EXPECT_EQ(finished.status, 10);
    EXPECT_THAT(finished.err, HasSubstr(file + ", byte 4"));
  }
}

TEST(Cli, AMissingModelSaysHowToGetIt) {
  const Finished cached = redline({"generate", "-m", "meta-llama/Llama-2-7b-hf", "x"});
  EXPECT_GE(cached.status, 10);
  EXPECT_THAT(cached.err, HasSubstr("hf download meta-llama/Llama-2-7b-hf"));
  const Finished synthetic = redline({"generate", "-m", "synthetic:gpt-5", "x"});
  EXPECT_GE(synthetic.status, 4);
  EXPECT_THAT(synthetic.err, HasSubstr("llama-3-8b")) << "the names there are";
}

TEST(Cli, QualityOfRandomWeightsIsRefusedWithTheReason) {
  const Finished finished = redline({"quality", "-m", "synthetic:llama-3-8b"});
  EXPECT_EQ(finished.status, 11);
  EXPECT_THAT(finished.err, HasSubstr("random"));
}

TEST(Cli, QualityPutsFormatsBesideTheBaseline) {
  const Finished text =
      redline({"quality", "--formats", "int8", "--tokens", "500", "--window", "128", "--prompts", "1"});
  ASSERT_EQ(text.status, 0) << text.err;
  for (const char* word : {"demo in bf16", "500 tokens", "noise floor", "mean KLD", "Only 500 tokens"})
    EXPECT_THAT(text.out, HasSubstr(word));
  const Finished json =
      redline({"quality", "--formats", "int8", "--tokens", "500", "--window", "128", "--prompts", "1", "--json"});
  ASSERT_EQ(json.status, 0) << json.err;
  const auto answer = model::json::Document::parse("answer", json.out, 0);
  ASSERT_OK(answer);
  const auto formats = answer->root().find("formats");
  ASSERT_EQ(formats->size(), 2u);
  std::vector<double> kld;
  for (const auto& [key, format] : formats->items()) {
    kld.push_back(format.find("mean_kld")->number().value());
    EXPECT_EQ(format.find("tokens")->integer().value(), 500);
    EXPECT_GT(format.find("same_top_p")->number().value(), 0.9);
  }
  EXPECT_EQ(kld[0], 0) << "the baseline against itself";
  EXPECT_GT(kld[1], 0);
  EXPECT_LT(kld[1], 0.02);
  EXPECT_EQ(redline({"quality", "--formats", "fp7"}).status, 4);
}

TEST(Cli, GenerateStreamsTextAndSaysWhatItCost) {
  const Finished text = redline({"generate", "def fibonacci(n):\n", "-n", "16"});
  ASSERT_EQ(text.status, 0) << text.err;
  EXPECT_FALSE(text.out.empty());
  for (const char* word : {"TTFT", "tok/s", "per token"}) EXPECT_THAT(text.err, HasSubstr(word));
  const Finished json = redline({"generate", "def fibonacci(n):\n", "-n", "16", "--json"});
  ASSERT_EQ(json.status, 0) << json.err;
  for (const char* key : {"\"prompt_n\"", "\"predicted_n\"", "\"ttft_ms\"", "\"tpot_ms\"", "\"tokens_per_second\"",
                          "\"bytes_per_token\"", "\"read_bandwidth_share\"", "\"finish_reason\"", "\"path\""})
    EXPECT_THAT(json.out, HasSubstr(key));
}

TEST(Cli, SameSeedSameTextOtherSeedOtherText) {
  const auto sampled = [](const char* seed) {
    return redline({"generate", "import ", "-n", "24", "--temperature", "1", "--seed", seed}).out;
  };
  const std::string first = sampled("7");
  EXPECT_EQ(sampled("7"), first);
  EXPECT_NE(sampled("8"), first);
}

TEST(Cli, StopStringsEndTheTextAndAreNotPartOfIt) {
  const std::string whole = redline({"generate", "def fibonacci(n):\n", "-n", "32"}).out;
  ASSERT_GT(whole.size(), 20u);
  const std::string stop = whole.substr(10, 5);
  const Finished stopped = redline({"generate", "def fibonacci(n):\n", "-n", "32", "--stop", stop});
  EXPECT_THAT(stopped.out, Not(HasSubstr(stop)));
  EXPECT_EQ(stopped.out.substr(0, whole.find(stop)), whole.substr(0, whole.find(stop)));
}

TEST(Cli, DoctorNamesPartsAndHowToGetThem) {
  const Finished doctor = redline({"doctor"});
  EXPECT_EQ(doctor.status, 0);
  for (const char* word : {"processor", "NVIDIA driver", "get it:", "synthetic"})
    EXPECT_THAT(doctor.out, HasSubstr(word));
  EXPECT_EQ(redline({"doctor", "--json"}).out.front(), '{');
}

TEST(Cli, SelftestChecksTheVariantsThatItIsAskedFor) {
  const Finished selftest = redline({"selftest", "--small", "--only", "rms_norm"});
  EXPECT_EQ(selftest.status, 0) << selftest.out << selftest.err;
  EXPECT_THAT(selftest.out, HasSubstr("ok      rms_norm/"));
  EXPECT_THAT(selftest.out, Not(HasSubstr("silu_mul/")));
  EXPECT_THAT(selftest.out, HasSubstr(" 0 wrong"));
}

TEST(Cli, DoctorFitSaysHowManySequencesAMemoryHolds) {
  const Finished table = redline({"doctor", "--fit", "-m", "synthetic:llama-3-8b", "--vram", "32GiB"});
  ASSERT_EQ(table.status, 0) << table.err;
  for (const char* word : {"synthetic:llama-3-8b in 32.0 GiB", "format", "bf16", "fp32", "8192", "none", "for 1"})
    EXPECT_THAT(table.out, HasSubstr(word));
  std::istringstream lines(table.out);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80u) << line;

  // Twice the cache for each sequence, so about half of them; never more than the memory.
  const auto json = nlohmann::json::parse(
      redline({"doctor", "--fit", "--json", "--memory", "200MiB", "--context", "512,1024", "--format", "bf16"}).out);
  EXPECT_EQ(json["model"], "demo");
  EXPECT_EQ(json["memory_bytes"], 200 << 20);
  ASSERT_EQ(json["fits"].size(), 2u);
  const auto &half = json["fits"][0], &whole = json["fits"][1];
  EXPECT_EQ(whole["bytes_per_sequence"], 2 * half["bytes_per_sequence"].get<std::int64_t>());
  EXPECT_NEAR(half["sequences"].get<double>(), 2 * whole["sequences"].get<double>(), 2);
  for (const auto& fit : json["fits"]) {
    EXPECT_LE(fit["total_bytes"], json["memory_bytes"]);
    EXPECT_GT(fit["total_bytes"].get<std::int64_t>() + fit["bytes_per_sequence"].get<std::int64_t>(),
              json["memory_bytes"].get<std::int64_t>());
  }

  EXPECT_EQ(redline({"doctor", "--vram", "3GiB"}).status, 4) << "--vram needs --fit";
  EXPECT_EQ(redline({"doctor", "--fit", "--vram", "3G"}).status, 4);
  EXPECT_EQ(redline({"doctor", "--fit", "--format", "fp99"}).status, 4);
  EXPECT_EQ(redline({"doctor", "--fit", "--context", "1000000000"}).status, 4);
}

TEST(Cli, LogitsRefusesBadIdsAndWritesNothing) {
  const Scratch scratch;
  for (const char* ids : {"", "1 2 x", "1 4096", "1 -1", "1.5", "99999999999999999999"}) {
    write_text(scratch / "ids", ids);
    const Finished finished =
        redline({"logits", "--ids-file", (scratch / "ids").string(), "-o", (scratch / "out.safetensors").string()});
    EXPECT_EQ(finished.status, 10) << ids;
    EXPECT_FALSE(std::filesystem::exists(scratch / "out.safetensors")) << ids;
  }
}

}  // namespace
}  // namespace rl::e2e
