#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "report/report.h"
#include "report/text.h"
#include "sample_run.h"

namespace rl::report {
namespace {

using testing::HasSubstr;
using testing::Not;

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines.emplace_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

std::string without_colors(std::string text) {
  for (std::size_t at; (at = text.find('\x1b')) != std::string::npos;) text.erase(at, text.find('m', at) - at + 1);
  return text;
}

std::string repeated(std::string_view text, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

void expect_within(std::string_view text, int width) {
  for (const std::string& line : lines_of(text)) EXPECT_LE(display_width(line), width) << line;
}

// The one line of the table that begins with the experiment's id.
std::string table_line(const std::string& text, const std::string& id) {
  for (const std::string& line : lines_of(text))
    if (line.starts_with(id + " ")) return line;
  return {};
}

TEST(Terminal, AnswersInOneLinePerExperiment) {
  const std::string text = terminal(sample_run(), {});
  EXPECT_THAT(table_line(text, "baseline"), HasSubstr("measured"));
  EXPECT_THAT(table_line(text, "attention"),
              testing::AllOf(HasSubstr("2.31x [2.25, 2.38]"), testing::EndsWith("holds")));
  EXPECT_THAT(table_line(text, "power_limit"), testing::EndsWith("skipped"));
  EXPECT_THAT(table_line(text, "fragmentation"), testing::EndsWith("failed"));
  EXPECT_THAT(table_line(text, "quantization"), testing::EndsWith("not built yet"));
  expect_within(text, 80);
}

TEST(Terminal, SaysWhatItMeansWhatToDoAndWhyNot) {
  // Wrapped lines are joined, so that a sentence can be found.
  std::string text;
  for (const std::string& line : lines_of(terminal(sample_run(), {.folder = "runs/x"})))
    text += line.substr(std::min(line.size(), line.find_first_not_of(' '))) + " ";
  for (const record::Experiment& e : sample_run().experiments) {
    EXPECT_THAT(text, HasSubstr(e.id));
    EXPECT_THAT(text, HasSubstr(e.meaning));
    EXPECT_THAT(text, HasSubstr(e.advice));
    EXPECT_THAT(text, HasSubstr(e.remedy));
    for (const std::string& reason : e.reasons) EXPECT_THAT(text, HasSubstr(reason));
  }
  EXPECT_THAT(text, HasSubstr("1 of 24 rows invalid"));
  EXPECT_THAT(text, HasSubstr("The first: "));
  EXPECT_THAT(text, HasSubstr("Intel Xeon Platinum 8481C"));
  EXPECT_THAT(text, HasSubstr("a1b2c3d"));
  EXPECT_THAT(text, HasSubstr("runs/x/report.html"));
}

TEST(Terminal, IsNeverWiderThanAskedWhateverTheNames) {
  // A family of four, joined; terminals that know it draw two columns, those that do not, eight.
  constexpr const char* kFamily = "\U0001F469\u200D\U0001F469\u200D\U0001F467\u200D\U0001F466";
  const std::vector<std::string> names = {
      std::string(300, 'x'),       repeated("日本語モデル", 12),           repeated(kFamily, 10),
      "a\tb\nc\rd\x1b[2Je\u202Ef", "\xff\xfe\x80" + repeated("\xc3", 200), std::string(90, 'e') + "\u0301\u0301"};
  for (const std::string& name : names)
    for (const int width : {40, 80, 132}) {
      record::Run run = sample_run();
      run.id = run.model.name = run.environment.cpu = run.environment.commit = run.mode = run.started =
          run.environment.version = name;
      run.validity = {.valid = false, .reasons = {name}, .warnings = {name}};
      for (record::Experiment& e : run.experiments) {
        e.id = e.title = e.expected = e.measured = e.meaning = e.advice = e.remedy = name;
        e.reasons = {name};
      }
      const std::string text = terminal(run, {.width = width, .folder = name});
      expect_within(text, width);
      EXPECT_THAT(text, Not(HasSubstr("\x1b")));
      EXPECT_THAT(text, HasSubstr("not built yet"));  // the verdict is never cut
    }
}

TEST(Terminal, ColourChangesNothingButColour) {
  const record::Run run = sample_run();
  const std::string plain = terminal(run, {}), colored = terminal(run, {.color = true});
  EXPECT_THAT(plain, Not(HasSubstr("\x1b")));
  EXPECT_THAT(colored, HasSubstr("\x1b[32m✓ holds\x1b[0m"));
  EXPECT_EQ(without_colors(colored), plain);
}

TEST(Terminal, ShowsAnInvalidAndAnUnfinishedRunAsSuch) {
  record::Run run = sample_run();
  run.validity = {.valid = false, .reasons = {"the clock moved"}};
  run.finished.clear();
  const std::string text = terminal(run, {});
  EXPECT_THAT(text, HasSubstr("INVALID   the clock moved"));
  EXPECT_THAT(text, HasSubstr("not finished"));
}

TEST(Terminal, TakesAnEmptyRun) {
  const std::string text = terminal({}, {});
  EXPECT_THAT(text, HasSubstr("This run has no experiments."));
  expect_within(text, 80);
}

TEST(History, ListsRunsWithinTheWidth) {
  const std::string text = history({{.id = "20261123-140509-quick",
                                     .started = "2026-11-23T14:05:09Z",
                                     .mode = "quick",
                                     .model = "demo",
                                     .device = "Intel Xeon Platinum 8481C with a long name",
                                     .experiments = 6,
                                     .finished = true},
                                    {.id = std::string(90, 'i'),
                                     .started = "x",
                                     .model = "模型模型模型模型模型模型模型模型模型",
                                     .device = "d",
                                     .experiments = 1}});
  EXPECT_THAT(text, HasSubstr("20261123-140509-quick"));
  EXPECT_THAT(text, HasSubstr("2026-11-23 14:05"));
  EXPECT_THAT(text, HasSubstr("1, unfinished"));
  EXPECT_EQ(lines_of(text).size(), 4U);
  expect_within(text, 80);
}

}  // namespace
}  // namespace rl::report
