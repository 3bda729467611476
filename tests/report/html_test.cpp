#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "html_check.h"
#include "report/facts.h"
#include "report/quantity.h"
#include "report/report.h"
#include "report/text.h"
#include "sample_run.h"

namespace rl::report {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// Every text of a record set to `name`: axes and metrics too.
record::Run hostile_run(const std::string& name) {
  record::Run run = sample_run();
  run.id = run.command = run.mode = run.started = run.finished = name;
  run.validity = {.valid = false, .reasons = {name}, .warnings = {name}};
  for (std::string* text :
       {&run.environment.os, &run.environment.kernel, &run.environment.cpu, &run.environment.isa, &run.environment.gpu,
        &run.environment.driver, &run.environment.cuda, &run.environment.governor, &run.environment.version,
        &run.environment.commit, &run.environment.build, &run.model.name, &run.model.family, &run.model.fingerprint,
        &run.model.tokenizer_fingerprint, &run.model.stored_as, &run.model.computed_as})
    *text = name;
  run.environment.backends = {name};
  for (record::Experiment& e : run.experiments) {
    e.id = e.title = e.plan = e.question = e.baseline = e.remedy = e.expected = e.measured = e.meaning = e.advice =
        name;
    e.reasons = e.notes = {name, name + "\n" + name};
    for (record::Hypothesis& h : e.hypotheses) h.id = h.claim = h.metric = h.where = h.reason = name;
    for (record::Comparison& c : e.comparisons) c.baseline = c.candidate = c.metric = name;
    for (record::Row& row : e.rows) {
      for (auto& [axis, value] : row.axes)
        if (axis != "seq") value = name;
      row.axes.emplace_back(name, name);
      row.path = {name, name};
      row.validity.reasons = row.validity.warnings = {name};
      row.note = name;
      row.metrics.push_back(counted(name, name, 1));
    }
    for (record::Chart& c : e.charts) c.title = name, c.where.clear();
    if (!e.charts.empty()) e.charts.push_back({.title = name, .x = name, .y = name, .series = name, .bars = true});
  }
  return run;
}

TEST(Html, IsWellFormed) {
  EXPECT_THAT(read_page(html(sample_run())).faults, IsEmpty());
  EXPECT_THAT(read_page(html({})).faults, IsEmpty());
}

TEST(HtmlCheck, TurnsRedOnPlantedFaults) {
  for (const char* page : {"<!DOCTYPE html><p><b></p></b>", "<!DOCTYPE html><p>", "<!DOCTYPE html><p a=b></p>",
                           "<!DOCTYPE html><p>a & b</p>", "<!DOCTYPE html><p>1 < 2</p>", "<p></p>",
                           "<!DOCTYPE html><p a=\"1\" a=\"2\"></p>", "<!DOCTYPE html><script>x"})
    EXPECT_THAT(read_page(page).faults, Not(IsEmpty())) << page;
}

TEST(Html, AsksTheNetworkForNothing) {
  const Page page = read_page(html(hostile_run("https://example.com/x.js")));
  EXPECT_THAT(page.faults, IsEmpty());
  bool policy = false;
  for (const Element& element : page.elements) {
    EXPECT_EQ(element.attributes.count("src"), 0U);
    EXPECT_THAT(element.tag,
                testing::AllOf(Not("link"), Not("iframe"), Not("img"), Not("object"), Not("base"), Not("form")));
    if (const auto href = element.attributes.find("href"); href != element.attributes.end()) {
      EXPECT_EQ(href->second.front(), '#') << href->second;
    }
    for (const auto& [name, value] : element.attributes) {
      EXPECT_FALSE(name.starts_with("on")) << name;
      if (value.starts_with("default-src &#39;none&#39;;")) policy = true;
    }
  }
  EXPECT_TRUE(policy);
  // Without hostile text there is no address at all but those in the notice of Chart.js.
  const std::string plain = html(sample_run());
  const Page plain_page = read_page(plain);
  for (const std::string& script : plain_page.scripts)
    if (script.find("Chart.js v3") == std::string::npos) {
      EXPECT_EQ(script.find("://"), std::string::npos);
    }
  EXPECT_EQ(plain_page.text.find("://"), std::string::npos);
  for (const Element& element : plain_page.elements)
    for (const auto& [name, value] : element.attributes) EXPECT_EQ(value.find("://"), std::string::npos) << name;
}

TEST(Html, CarriesChartJsWithItsNoticeOnlyIfThereIsAChart) {
  EXPECT_THAT(html(sample_run()), HasSubstr("Released under the MIT License"));
  EXPECT_THAT(html({}), Not(HasSubstr("Chart.js v3")));
}

TEST(Html, NoTextOfARecordBecomesMarkupOrScript) {
  const std::size_t scripts = read_page(html(hostile_run("x"))).scripts.size();
  for (const std::string& name :
       {std::string("</script><script>alert(1)</script>"), std::string("\"><img src=x onerror=alert(1)>"),
        std::string("<!--<script>"), std::string("'onmouseover='alert(1)"), std::string("&lt;b&gt;"),
        std::string("a\0<b>\xff", 6), std::string("${alert(1)}`"), std::string("]]></style>")}) {
    const std::string text = html(hostile_run(name));
    const Page page = read_page(text);
    EXPECT_THAT(page.faults, IsEmpty()) << name;
    EXPECT_EQ(page.scripts.size(), scripts) << name;
    for (const Element& element : page.elements) {
      EXPECT_NE(element.tag, "img");
      for (const auto& [attribute, value] : element.attributes) EXPECT_FALSE(attribute.starts_with("on")) << attribute;
    }
    EXPECT_THAT(page.text, HasSubstr(escape_html(name)));  // and it is shown as what it is
    for (const std::string& script : page.scripts)
      if (script.starts_with("{")) {
        EXPECT_THAT(script, testing::AllOf(Not(HasSubstr("<")), Not(HasSubstr("\xff"))));
      }
  }
}

// Every number, verdict and reason of the record, in both written forms.
void expect_everything(const record::Run& run, const std::string& text,
                       const std::function<std::string(std::string_view)>& escape) {
  const auto expect = [&](std::string_view part) { EXPECT_THAT(text, HasSubstr(escape(part))); };
  expect(run.command);
  expect(run.id);
  expect(run.environment.cpu);
  expect(run.environment.commit);
  expect(run.model.fingerprint);
  expect(run.model.tokenizer_fingerprint);
  for (const record::Experiment& e : run.experiments) {
    expect(e.title);
    expect(e.question);
    expect(badge_of(e).word);
    if (e.state == record::State::not_built) continue;
    for (const std::string& part : {e.baseline, e.remedy, e.measured, e.meaning, e.advice}) expect(part);
    for (const std::string& reason : e.reasons) expect(reason);
    for (const std::string& note : e.notes) expect(note);
    for (const record::Hypothesis& h : e.hypotheses) {
      expect(h.claim);
      expect(h.where);
      expect(h.reason);
      expect(format_expected(h.expected, "1"));
      expect(record::name_of(h.outcome));
      if (h.measured) expect(format_interval(*h.measured, *h.measured_value, "1"));
    }
    for (const record::Comparison& c : e.comparisons) {
      expect(c.candidate);
      expect(c.baseline);
      expect(format_interval(c.ci95, c.ratio, "1"));
      expect(record::name_of(c.verdict));
    }
    for (const record::Row& row : e.rows) {
      for (const record::Metric& metric : row.metrics) {
        expect(words(metric.name));
        expect(format_value(metric.value, metric.unit));
        if (metric.ci95) expect(format_interval(*metric.ci95, metric.value, metric.unit));
      }
      for (const std::string& step : row.path) expect(step);
      for (const std::string& reason : row.validity.reasons) expect(reason);
      for (const std::string& warning : row.validity.warnings) expect(warning);
      expect(row.note);
    }
  }
}

// Without what divides a sentence that has code in it.
std::string unbroken(std::string text) {
  std::erase_if(text, [](char c) { return c == '\n' || c == '`'; });
  return text;
}

TEST(Html, ShowsEveryNumberVerdictAndReasonWithoutScripts) {
  expect_everything(sample_run(), unbroken(read_page(html(sample_run())).text),
                    [](std::string_view part) { return unbroken(escape_html(part)); });
}

TEST(Markdown, ShowsEveryNumberVerdictAndReason) {
  expect_everything(sample_run(), markdown(sample_run()), escape_markdown);
}

TEST(Markdown, KeepsItsTablesWhateverTheNames) {
  const auto columns = [](const std::string& line) {
    int count = 0;
    for (std::size_t i = 0; i < line.size(); ++i) count += line[i] == '|' && (i == 0 || line[i - 1] != '\\');
    return count;
  };
  for (const char* name : {"a|b", "a\n|x|y|\n# title", "<script>alert(1)</script>", "\\|"}) {
    const std::string text = markdown(hostile_run(name));
    EXPECT_THAT(text, Not(HasSubstr("\n# title")));
    int expected = 0;
    bool fenced = false;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = std::min(text.find('\n', at), text.size());
      const std::string line = text.substr(at, end - at);
      at = end + 1;
      if (line.starts_with("```")) fenced = !fenced;
      if (fenced || line.starts_with("      ")) continue;  // code is shown as it is
      EXPECT_THAT(line, Not(HasSubstr("<script")));
      if (!line.starts_with("|")) {
        expected = 0;
        continue;
      }
      if (expected == 0) expected = columns(line);
      { EXPECT_EQ(columns(line), expected) << line; }
    }
  }
}

TEST(Html, MarksInvalidRows) {
  record::Run run = sample_run();
  const auto invalid_rows = [](const record::Run& r) {
    int count = 0;
    for (const Element& element : read_page(html(r)).elements)
      if (element.tag == "tr" && element.attributes.contains("class") && element.attributes.at("class") == "invalid")
        ++count;
    return count;
  };
  const int sampled_metrics = 3;  // the row itself, and its line per sampled metric under "how each number was taken"
  EXPECT_EQ(invalid_rows(run), 1 + sampled_metrics);
  EXPECT_THAT(read_page(html(run)).text, HasSubstr("INVALID"));
  for (record::Row& row : run.experiments[1].rows) row.validity.valid = true;
  EXPECT_EQ(invalid_rows(run), 0);
}

// Rows that have little in common get a line per metric; what holds for the whole row stands there once.
TEST(Html, ALongTableSaysOnceWhatHoldsForARow) {
  record::Run run = sample_run();
  record::Experiment experiment{.id = "long", .state = record::State::done};
  for (int i = 0; i < 3; ++i) {
    record::Row row{.axes = {{"load", fmt::format("load{}", i)}},
                    .validity = {.warnings = {fmt::format("warned{}", i)}}};
    for (int j = 0; j < 3; ++j)
      row.metrics.push_back({.name = fmt::format("metric{}{}", i, j), .unit = "s", .value = 1, .statistic = "median"});
    experiment.rows.push_back(std::move(row));
  }
  run.experiments = {experiment};
  const Page page = read_page(html(run));
  EXPECT_EQ(std::count_if(page.elements.begin(), page.elements.end(),
                          [](const Element& element) {
                            const auto span = element.attributes.find("rowspan");
                            return span != element.attributes.end() && span->second == "3";
                          }),
            9)
      << "axis, validity and path of three rows";
  for (int i = 0; i < 3; ++i) {
    const std::string warned = fmt::format("warned{}", i);
    const std::size_t at = page.text.find(warned);
    ASSERT_NE(at, page.text.npos);
    EXPECT_EQ(page.text.find(warned, at + 1), page.text.npos);
  }
}

TEST(Html, AChartHasALegendWhereItsAxisDoesNotSayTheSame) {
  const auto legends = [](const record::Chart& chart) {
    record::Run run = sample_run();
    record::Experiment experiment{.id = "formats", .state = record::State::done, .charts = {chart}};
    for (const char* format : {"bf16", "fp8"})
      experiment.rows.push_back(
          {.axes = {{"format", format}},
           .metrics = {{.name = "weight_bytes", .unit = "B", .value = 64, .statistic = "count"}}});
    run.experiments = {experiment};
    const Page page = read_page(html(run));
    return std::count_if(page.elements.begin(), page.elements.end(), [](const Element& element) {
      const auto css = element.attributes.find("class");
      return element.tag == "ul" && css != element.attributes.end() && css->second == "legend";
    });
  };
  EXPECT_EQ(legends({.title = "Bytes", .x = "format", .y = "weight_bytes", .bars = true}), 0);
  EXPECT_EQ(legends({.title = "Bytes", .x = "format", .y = "weight_bytes", .series = "format", .bars = true}), 1);
}

TEST(Html, DrawsNoLineBetweenNames) {
  const auto lines = [](const char* first, const char* second) {
    record::Run run = sample_run();
    record::Experiment experiment{
        .id = "shapes", .state = record::State::done, .charts = {{.title = "Time", .x = "shape", .y = "time"}}};
    for (const char* shape : {first, second})
      experiment.rows.push_back({.axes = {{"shape", shape}}, .metrics = {{.name = "time", .unit = "s", .value = 1}}});
    run.experiments = {experiment};
    const Page page = read_page(html(run));
    return std::count_if(page.elements.begin(), page.elements.end(), [](const Element& element) {
      const auto css = element.attributes.find("class");
      return element.tag == "line" && css != element.attributes.end() && css->second.starts_with("line s");
    });
  };
  EXPECT_GT(lines("128", "256"), 0);
  EXPECT_EQ(lines("small", "large"), 0);
}

TEST(Html, SetsCommandsInSentencesAsCode) {
  EXPECT_THAT(html(sample_run()), HasSubstr("such a GPU: <code>redline doctor</code> says"));
  record::Run run = sample_run();
  run.experiments[0].meaning = "a ` alone, `<b>` and `";
  EXPECT_THAT(html(run), HasSubstr("a <code> alone, </code>&lt;b&gt;<code> and </code>"));
}

TEST(Html, NeverHidesWhatDidNotRun) {
  const Page page = read_page(html(sample_run()));
  EXPECT_THAT(page.text, HasSubstr("needs an NVIDIA GPU whose power limit can be set"));
  EXPECT_THAT(page.text, HasSubstr("Speculative decoding"));
  EXPECT_THAT(page.text, HasSubstr("Not built yet"));
}

TEST(Html, LinksLeadSomewhere) {
  const Page page = read_page(html(sample_run()));
  std::vector<std::string> ids;
  for (const Element& element : page.elements)
    if (const auto id = element.attributes.find("id"); id != element.attributes.end()) ids.push_back("#" + id->second);
  for (const Element& element : page.elements)
    if (const auto href = element.attributes.find("href"); href != element.attributes.end()) {
      EXPECT_THAT(ids, Contains(href->second));
    }
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(std::adjacent_find(ids.begin(), ids.end()), ids.end()) << "an id twice";
}

TEST(Html, KeepsTheLinesOfATableInANote) {
  record::Run run = sample_run();
  run.experiments[0].notes = {"Memory plan:\n  weights   6.1 MiB\n  KV pages  40 MiB\n"};
  EXPECT_THAT(html(run), HasSubstr("<pre>  weights   6.1 MiB\n  KV pages  40 MiB\n</pre>"));
}

}  // namespace
}  // namespace rl::report
