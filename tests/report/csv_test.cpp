#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "report/report.h"
#include "sample_run.h"

namespace rl::report {
namespace {

// RFC 4180, so that the test does not share the writer's idea of quoting.
std::vector<std::map<std::string, std::string>> parse(const std::string& text) {
  std::vector<std::vector<std::string>> lines{{""}};
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string& field = lines.back().back();
    if (quoted && text[i] == '"' && i + 1 < text.size() && text[i + 1] == '"') {
      field += text[i++];
    } else if (text[i] == '"') {
      quoted = !quoted;
    } else if (!quoted && text[i] == ',') {
      lines.back().emplace_back();
    } else if (!quoted && text[i] == '\n') {
      lines.push_back({""});
    } else {
      field += text[i];
    }
  }
  lines.pop_back();  // the text ends with a line break
  std::vector<std::map<std::string, std::string>> records;
  for (std::size_t l = 1; l < lines.size(); ++l) {
    EXPECT_EQ(lines[l].size(), lines[0].size()) << "line " << l;
    std::map<std::string, std::string> record;
    for (std::size_t i = 0; i < std::min(lines[0].size(), lines[l].size()); ++i) record[lines[0][i]] = lines[l][i];
    EXPECT_EQ(record.size(), lines[0].size()) << "two columns of one name";
    records.push_back(std::move(record));
  }
  return records;
}

TEST(Csv, HoldsEveryMetricWithEveryBit) {
  const record::Run run = sample_run();
  const auto records = parse(csv(run));
  std::size_t at = 0;
  for (const record::Experiment& e : run.experiments)
    for (const record::Row& row : e.rows)
      for (const record::Metric& metric : row.metrics) {
        ASSERT_LT(at, records.size());
        auto line = records[at++];
        EXPECT_EQ(line["experiment"], e.id);
        for (const auto& [axis, value] : row.axes) EXPECT_EQ(line[axis], value);
        EXPECT_EQ(line["metric"], metric.name);
        EXPECT_EQ(line["unit"], metric.unit);
        EXPECT_EQ(std::stod(line["value"]), metric.value);
        EXPECT_EQ(line["low"].empty(), !metric.ci95.has_value());
        if (metric.ci95) {
          EXPECT_EQ(std::stod(line["low"]), metric.ci95->low);
          EXPECT_EQ(std::stod(line["high"]), metric.ci95->high);
        }
        EXPECT_EQ(line["n"], std::to_string(metric.samples.size()));
        EXPECT_EQ(line["timing"], record::name_of(metric.timing));
        EXPECT_EQ(line["valid"], row.validity.valid ? "true" : "false");
      }
  EXPECT_EQ(at, records.size());
}

TEST(Csv, QuotesHostileText) {
  record::Experiment e{.id = "a,\"b\"\nc"};
  e.rows.push_back({.axes = {{"value", "x,y"}, {"name\"", "line\nbreak"}}, .metrics = {counted("m,1", "B", 1)}});
  record::Run run;
  run.experiments = {e};
  const auto records = parse(csv(run));
  ASSERT_EQ(records.size(), 1U);
  auto line = records[0];
  EXPECT_EQ(line["experiment"], e.id);
  EXPECT_EQ(line["axis_value"], "x,y");  // an axis of a fixed column's name
  EXPECT_EQ(line["name\""], "line\nbreak");
  EXPECT_EQ(line["metric"], "m,1");
  EXPECT_EQ(line["value"], "1");
}

TEST(Csv, KeepsRowsWithoutNumbersAndLeavesNaNEmpty) {
  record::Experiment e{.id = "x"};
  e.rows.push_back({.axes = {{"seq", "1"}}, .validity = {.valid = false, .reasons = {"wrong output", "late"}}});
  e.rows.push_back({.axes = {{"seq", "2"}}, .metrics = {counted("m", "1", NAN)}});
  record::Run run;
  run.experiments = {e};
  auto records = parse(csv(run));
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[0]["reasons"], "wrong output; late");
  EXPECT_EQ(records[0]["valid"], "false");
  EXPECT_EQ(records[0]["metric"], "");
  EXPECT_EQ(records[1]["value"], "");
}

TEST(Csv, OfAnEmptyRunHasItsHeadOnly) { EXPECT_TRUE(parse(csv({})).empty()); }

}  // namespace
}  // namespace rl::report
