#include "report/text.h"

#include <gtest/gtest.h>

namespace rl::report {
namespace {

TEST(Printable, KeepsTextAndNeutralisesWhatActs) {
  EXPECT_EQ(printable("Grüße 日本 🚀"), "Grüße 日本 🚀");
  EXPECT_EQ(printable("a\nb\tc"), "a b c");
  EXPECT_EQ(printable("\x1b[31mred"), "\xEF\xBF\xBD[31mred");
  EXPECT_EQ(printable("a\xff"
                      "b"),
            "a\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(printable("x\u202Egnp.exe"), "x\xEF\xBF\xBDgnp.exe");
  EXPECT_EQ(printable(std::string_view("a\0b", 3)), "a b");
}

TEST(PrintableLines, KeepsLinesAndDropsEmptyOnesAtTheEnd) {
  EXPECT_EQ(printable_lines("plan:\n  a  1\n\n"), (std::vector<std::string>{"plan:", "  a  1"}));
  EXPECT_TRUE(printable_lines("\n \n").empty());
}

TEST(DisplayWidth, CountsColumnsAndNotBytes) {
  EXPECT_EQ(display_width("abc"), 3);
  EXPECT_EQ(display_width("Grüße"), 5);
  EXPECT_EQ(display_width("日本"), 4);
  EXPECT_EQ(display_width("e\u0301"), 1);  // a combining accent
  EXPECT_EQ(display_width("🚀"), 2);
  EXPECT_EQ(display_width("❤\uFE0F"), 2);  // the emoji form
}

TEST(Truncate, CutsToColumnsAndNeverInsideACluster) {
  EXPECT_EQ(truncate("flash attention", 15), "flash attention");
  EXPECT_EQ(truncate("flash attention", 9), "flash at…");
  EXPECT_EQ(truncate("flash attention", 7), "flash…");  // no space before the sign
  EXPECT_EQ(truncate("日本語", 4), "日…");
  EXPECT_EQ(truncate("e\u0301e\u0301e\u0301", 2), "e\u0301…");
  EXPECT_EQ(truncate("abc", 0), "");
}

TEST(Pad, FillsToExactlyTheWidth) {
  EXPECT_EQ(pad("日", 4), "日  ");
  EXPECT_EQ(pad_left("12", 4), "  12");
  EXPECT_EQ(display_width(pad("日本語", 4)), 4);
}

TEST(Wrap, BreaksBetweenWordsAndInsideOnesThatAreTooLong) {
  EXPECT_EQ(wrap("one two three", 7), (std::vector<std::string>{"one two", "three"}));
  EXPECT_EQ(wrap("abcdefghij", 4), (std::vector<std::string>{"abcd", "efgh", "ij"}));
  EXPECT_TRUE(wrap("", 10).empty());
  for (const std::string& line : wrap("日本語日本語 x 日本語日本語日本語", 5))
    EXPECT_LE(display_width(line), 5) << line;
}

TEST(EscapeHtml, LeavesNoMarkup) { EXPECT_EQ(escape_html("<a href='x'>\"&"), "&lt;a href=&#39;x&#39;&gt;&quot;&amp;"); }

TEST(EscapeMarkdown, LeavesNoMarkupAndKeepsNamesReadable) {
  EXPECT_EQ(escape_markdown("a|b"), "a\\|b");
  EXPECT_EQ(escape_markdown("<script>"), "&lt;script\\>");
  EXPECT_EQ(escape_markdown("[x](y) *b* `c`"), "\\[x\\](y) \\*b\\* \\`c\\`");
  EXPECT_EQ(escape_markdown("cpu.flash_avx512, 2-4x"), "cpu.flash_avx512, 2-4x");
  EXPECT_EQ(escape_markdown("_x_"), "\\_x\\_");
  EXPECT_EQ(escape_markdown("# title"), "\\# title");
  EXPECT_EQ(escape_markdown("a\n| b"), "a \\| b");
}

TEST(EscapeCsv, QuotesOnlyWhatNeedsIt) {
  EXPECT_EQ(escape_csv("plain"), "plain");
  EXPECT_EQ(escape_csv("a,b"), "\"a,b\"");
  EXPECT_EQ(escape_csv("say \"x\""), "\"say \"\"x\"\"\"");
  EXPECT_EQ(escape_csv("a\nb"), "\"a\nb\"");
}

TEST(Slug, HasLettersDigitsAndDashesOnly) { EXPECT_EQ(slug("a \"><b>/é"), "a-b-"); }

}  // namespace
}  // namespace rl::report
