#include <gmock/gmock.h>

#include "report/report.h"
#include "report/text.h"

namespace rl::report {
namespace {

using testing::HasSubstr;
using testing::Not;

record::RunComparison sample() {
  record::RunComparison comparison{
      .baseline = "20261123-140509-quick", .candidate = "20261124-140509-quick", .drift = 1.03};
  comparison.differences = {{.name = "commit", .baseline = "0.1.0 a1b2c3d", .candidate = "0.1.0 d4e5f6a"}};
  const auto add = [&](std::string row, double ratio, record::Interval ci95, record::Verdict verdict) {
    comparison.metrics.push_back(
        {.experiment = "attention",
         .row = std::move(row),
         .metric = "arithmetic_rate",
         .unit = "FLOP/s",
         .baseline = 1e9,
         .candidate = 1e9 * ratio,
         .result = {.ratio = ratio, .ci95 = ci95, .smallest_effect = 0.05, .verdict = verdict}});
  };
  add("seq 64", 1, {0.99, 1.01}, record::Verdict::same);
  add("seq 128", 0.5, {0.4, 0.6}, record::Verdict::worse);
  add("variant flash, seq 256, a row with a long | name, and another part of it, and one more", 2, {1.8, 2.2},
      record::Verdict::better);
  for (int i = 0; i < 20; ++i) add("unsure " + std::to_string(i), 1.1, {0.7, 1.6}, record::Verdict::inconclusive);
  return comparison;
}

TEST(ComparisonTerminal, FitsTheScreenAndHasTheWorstFirst) {
  const std::string text = comparison_terminal(sample(), {});
  for (const std::string& line : printable_lines(text)) EXPECT_LE(display_width(line), 80) << line;
  EXPECT_LT(text.find("WORSE         0.5"), text.find("BETTER        2.00"));
  EXPECT_LT(text.find("BETTER        2.00"), text.find("INCONCLUSIVE  1.10"));
  for (const char* part :
       {"differs       commit: 0.1.0 a1b2c3d | 0.1.0 d4e5f6a", "and 8 more INCONCLUSIVE", "1 SAME: --all lists them",
        "moved by up to 3", "23 comparisons", "\nWORSE\n", "not in turns"})
    EXPECT_THAT(text, HasSubstr(part));
  const std::string all = comparison_terminal(sample(), {.all = true});
  EXPECT_THAT(all, HasSubstr("unsure 19"));
  EXPECT_THAT(all, HasSubstr("SAME          1.00"));
}

TEST(ComparisonTerminal, ARefusalNamesTheFlagAndShowsNoFigures) {
  record::RunComparison comparison = sample();
  comparison.differences = {{.name = "machine", .baseline = "x", .candidate = "y", .refuses = true},
                            {.name = "mode", .baseline = "quick", .candidate = "full", .refuses = true}};
  const std::string text = comparison_terminal(comparison, {});
  EXPECT_THAT(text, HasSubstr("--allow-differences machine,mode"));
  EXPECT_THAT(text, Not(HasSubstr("attention")));
  EXPECT_THAT(comparison_markdown(comparison), HasSubstr("unlike: not compared"));
}

TEST(ComparisonTerminal, WithoutAnchorsItSaysWhatTheIntervalsHoldFor) {
  record::RunComparison comparison = sample();
  comparison.drift.reset();
  EXPECT_THAT(comparison_terminal(comparison, {}), HasSubstr("Neither run says how the machine's own rates moved"));
}

TEST(ComparisonTerminal, SaysWhatForeignLoadLeftUndecided) {
  record::RunComparison comparison{.baseline = "a", .candidate = "b", .undecided = {"baseline, load decode: why"}};
  EXPECT_THAT(comparison_terminal(comparison, {}), HasSubstr("INCONCLUSIVE  baseline, load decode: why"));
  EXPECT_THAT(comparison_terminal(comparison, {}), HasSubstr("\nINCONCLUSIVE\n"));
  EXPECT_THAT(comparison_markdown(comparison), HasSubstr("- INCONCLUSIVE: baseline, load decode: why"));
}

TEST(ComparisonMarkdown, HasEveryMetricInATable) {
  const std::string text = comparison_markdown(sample());
  EXPECT_THAT(text, HasSubstr(": WORSE\n"));
  EXPECT_THAT(text, HasSubstr("| SAME | attention, seq 64: arithmetic rate |"));
  EXPECT_THAT(text, HasSubstr("long \\| name"));
}

}  // namespace
}  // namespace rl::report
