// What Redline says of a format's quality against an independent computation: tools/reference/quality_reference.py, a
// forward pass in PyTorch that shares no line with Redline and sums in double. Its figures are in tests/data.

#include <numeric>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "engine/fixture.h"
#include "quality/divergence.h"

namespace rl::quality {
namespace {

using nlohmann::json;

// Both sides round in the same places to the same codes, but add up in another order, here in float. Where a sum ends
// close to the middle of two codes, that tips the rounding, and all that follows. The script measured how far figures
// move by it: it repeated its computation with random errors of that size, and the file has mean and standard deviation
// over the repeats. Ours is one draw more. The deviation of a single figure is known badly from 8 repeats, so figures
// of a kind share one, relative to their means: the root mean square over the formats. Beyond 5 of a normal
// distribution is one draw in 2 million.
constexpr double kDeviations = 5;

// fp32 rounds nothing else: one part in 10^5 of a perplexity is an error of 10^-5 in each token's logarithm, a hundred
// times what the last place of a logit of 10 is worth.
constexpr double kFloatPerplexity = 1e-5;

double figure(const Divergence& d, const std::string& name) {
  if (name == "mean_ppl_base") return d.ppl_base.value;
  if (name == "mean_ppl_q") return d.ppl.value;
  if (name == "mean_kld") return d.kld.value;
  if (name == "median_kld") return d.median_kld;
  if (name == "p99_kld") return d.p99_kld;
  if (name == "rms_dp") return d.rms_dp.value;
  if (name == "same_top_p") return d.same_top.value;
  ADD_FAILURE() << name;
  return 0;
}

struct Reference : testing::Test {
  engine::TestBackend backend{false};
  json file;
  std::vector<TokenId> ids;

  void SetUp() override {
    ASSERT_VALUE(const FileView text, read_file(REDLINE_SOURCE_DIR "/tests/data/quality_reference.json", 1 << 20));
    file = json::parse(text.text());
    ASSERT_VALUE(const auto files, model::find_files(engine::demo_folder()));
    ASSERT_VALUE(const auto tokenizer, model::Tokenizer::load(*files));
    ASSERT_VALUE(const FileView eval, files->open("eval.txt"));
    ASSERT_VALUE(ids, tokenizer.encode(eval.text(), false));
    ids.resize(file["tokens"].get<std::size_t>());
    ASSERT_EQ(std::accumulate(ids.begin(), ids.end(), std::int64_t{0}), file["ids_sum"].get<std::int64_t>())
        << "the script scored other tokens";
  }
  std::unique_ptr<engine::Engine> make(const std::string& format) {
    const auto chosen = engine::format_from(format);
    RL_CHECK(chosen.has_value());
    auto made = engine::make_engine("demo", *backend,
                                    {.precision = chosen->precision,
                                     .weights = chosen->weights,
                                     .max_context = file["window"].get<std::int64_t>(),
                                     .max_seqs = 1});
    RL_CHECK(made.has_value());
    return std::move(*made);
  }
  double relative_deviation(const std::string& name) const {
    double squares = 0;
    int n = 0;
    for (const json& row : file["formats"]) {
      if (row["format"] == "fp32" && name == "mean_ppl_q") continue;  // has nothing that tips
      const double relative = row["sd"][name].get<double>() / row["mean"][name].get<double>();
      squares += relative * relative;
      ++n;
    }
    return std::sqrt(squares / n);
  }
};

TEST_F(Reference, AnotherProgramFindsTheSameFigures) {
  const auto base = make(file["baseline"]);
  ASSERT_EQ(file["formats"].size(), 8u);
  for (const json& row : file["formats"]) {
    const auto format = row["format"].get<std::string>();
    SCOPED_TRACE(format);
    const auto candidate = make(format);
    ASSERT_VALUE(const auto scores,
                 score_both(*base, *candidate, ids, {.window = file["window"].get<std::int64_t>(), .bos = 0}));
    const Divergence found = summarize(scores);
    EXPECT_EQ(found.tokens, file["tokens"].get<std::int64_t>());
    for (const char* name :
         {"mean_ppl_base", "mean_ppl_q", "mean_kld", "median_kld", "p99_kld", "rms_dp", "same_top_p"}) {
      const double mean = row["mean"][name].get<double>();
      EXPECT_NEAR(figure(found, name) / mean, 1, kDeviations * relative_deviation(name)) << name;
    }
    if (format == "fp32") {
      EXPECT_NEAR(found.ppl.value / row["exact"]["mean_ppl_q"].get<double>(), 1, kFloatPerplexity);
    }
  }
}

}  // namespace
}  // namespace rl::quality
