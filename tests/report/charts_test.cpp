#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "html_check.h"
#include "report/chart.h"
#include "report/report.h"
#include "sample_run.h"

namespace rl::report {
namespace {

using Json = nlohmann::json;

// The data of the page's charts, in their order.
std::vector<Json> charts_of(const record::Run& run) {
  std::vector<Json> charts;
  for (const std::string& script : read_page(html(run)).scripts)
    if (script.starts_with("{")) charts.push_back(Json::parse(script));
  return charts;
}

int count_class(const Page& page, const std::string& tag, const std::string& css) {
  return static_cast<int>(std::count_if(page.elements.begin(), page.elements.end(), [&](const Element& e) {
    return e.tag == tag && e.attributes.contains("class") && e.attributes.at("class").starts_with(css);
  }));
}

Page drawn(const record::Experiment& e, const record::Chart& chart) {
  const ChartData data = chart_data(e, chart);
  Markup out;
  out.trusted("<!DOCTYPE html>");
  draw_svg(out, data, chart_axes(data, chart), chart);
  return read_page(out.take());
}

TEST(ChartJson, EqualsTheRowsToTheLastBit) {
  const record::Run run = sample_run();
  const std::vector<Json> charts = charts_of(run);
  ASSERT_EQ(charts.size(), run.experiments[0].charts.size() + run.experiments[1].charts.size());
  std::size_t at = 0;
  for (const record::Experiment& e : {run.experiments[0], run.experiments[1]})
    for (const record::Chart& chart : e.charts) {
      const Json& json = charts[at++];
      std::size_t points = 0, rows = 0;
      for (const Json& series : json["series"]) points += series["points"].size();
      for (const record::Row& row : e.rows) {
        const record::Metric* metric = metric_of(row, chart.y);
        const bool wanted = std::all_of(chart.where.begin(), chart.where.end(),
                                        [&](const auto& c) { return *axis_value(row, c.first) == c.second; });
        if (metric == nullptr || !wanted) continue;
        ++rows;
        bool found = false;
        for (const Json& series : json["series"]) {
          if (series["name"] != *axis_value(row, chart.series)) continue;
          for (const Json& point : series["points"]) {
            if (point["label"] != *axis_value(row, chart.x)) continue;
            found = true;
            EXPECT_EQ(point["y"].get<double>(), metric->value);
            EXPECT_EQ(point["valid"].get<bool>(), row.validity.valid);
            EXPECT_EQ(point.contains("low"), metric->ci95.has_value());
            if (metric->ci95) {
              EXPECT_EQ(point["low"].get<double>(), metric->ci95->low);
              EXPECT_EQ(point["high"].get<double>(), metric->ci95->high);
            }
          }
        }
        EXPECT_TRUE(found) << chart.title;
      }
      EXPECT_EQ(points, rows) << chart.title;
      EXPECT_EQ(json["y"]["log"].get<bool>(), chart.log_y);
    }
}

TEST(ChartAxes, HaveUnitsAndHoldEveryPoint) {
  const record::Experiment e = sample_attention();
  for (const record::Chart& chart : e.charts) {
    const ChartData data = chart_data(e, chart);
    const ChartAxes axes = chart_axes(data, chart);
    EXPECT_EQ(axes.x_title, "seq (tokens)");
    for (const Series& series : data.series)
      for (const Point& p : series.points) {
        EXPECT_GT(p.x, axes.x_low);
        EXPECT_LT(p.x, axes.x_high);
        EXPECT_LT((p.ci95 ? p.ci95->high : p.y) / axes.y.factor, axes.y_high);
        EXPECT_GE((p.ci95 ? p.ci95->low : p.y) / axes.y.factor, axes.y_low);
      }
    EXPECT_GE(axes.y_ticks.size(), 2U) << chart.title;
  }
  EXPECT_EQ(chart_axes(chart_data(e, e.charts[0]), e.charts[0]).y_title, "time (ms)");
  EXPECT_EQ(chart_axes(chart_data(e, e.charts[2]), e.charts[2]).y_title, "workspace bytes (MiB)");
  EXPECT_EQ(chart_axes(chart_data(e, e.charts[3]), e.charts[3]).y_low, 0);  // linear axes begin at zero
}

TEST(ChartAxes, BarsOfRatiosBeginAtOne) {
  record::Experiment e;
  for (const auto& [rung, ratio] : {std::pair{"flash", 0.9}, {"graphs", 1.2}})
    e.rows.push_back({.axes = {{"rung", rung}}, .metrics = {counted("m", "1", ratio)}});
  const record::Chart chart{.x = "rung", .y = "m", .bars = true, .bar_base = 1};
  const ChartData data = chart_data(e, chart);
  const ChartAxes axes = chart_axes(data, chart);
  EXPECT_GT(axes.y_low, 0.8);
  EXPECT_LT(axes.y_low, 0.9);
  EXPECT_GT(axes.y_high, 1.2);
  EXPECT_LT(axes.y_high, 1.3);
  Markup out;
  draw_svg(out, data, axes, chart);
  const std::string svg = out.take();
  // Both bars meet at one: where the first begins the second ends.
  double top[2] = {}, height[2] = {};
  std::size_t at = 0;
  for (int bar = 0; bar < 2; ++bar) {
    at = svg.find("<rect class=\"bar", at + 1);
    ASSERT_NE(at, std::string::npos);
    top[bar] = std::stod(svg.substr(svg.find(" y=\"", at) + 4));
    height[bar] = std::stod(svg.substr(svg.find(" height=\"", at) + 9));
  }
  EXPECT_NEAR(top[0], top[1] + height[1], 0.2);
  EXPECT_EQ(nlohmann::json::parse(chart_json(data, axes, chart))["y"]["base"].get<double>(), 1);
}

TEST(ChartAxes, TakeOnePointAndEqualPoints) {
  record::Experiment e;
  for (const char* seq : {"7", "9"}) e.rows.push_back({.axes = {{"seq", seq}}, .metrics = {counted("m", "1", 0)}});
  for (const bool log : {false, true}) {
    const record::Chart chart{.x = "seq", .y = "m", .log_x = log};
    const ChartAxes axes = chart_axes(chart_data(e, chart), chart);
    EXPECT_LT(axes.y_low, axes.y_high);
    EXPECT_LT(axes.x_low, axes.x_high);
  }
  e.rows.pop_back();
  e.rows[0].metrics[0].value = 3;
  const record::Chart chart{.x = "seq", .y = "m", .log_x = true, .log_y = true};
  const ChartAxes axes = chart_axes(chart_data(e, chart), chart);
  EXPECT_LT(axes.x_low, 7);
  EXPECT_GT(axes.x_low, 0);
  EXPECT_GT(axes.x_high, 7);
  EXPECT_GE(axes.y_ticks.size(), 1U);
}

TEST(ChartSvg, DrawsEveryPointAndInterval) {
  const record::Experiment e = sample_attention();
  const Page page = drawn(e, e.charts[1]);  // causal: 12 rows, the last of `standard` invalid
  EXPECT_THAT(page.faults, testing::IsEmpty());
  EXPECT_EQ(count_class(page, "circle", "mark s0"), 5);
  EXPECT_EQ(count_class(page, "path", "mark broken s0"), 1);
  EXPECT_EQ(count_class(page, "rect", "mark s1"), 6);
  EXPECT_EQ(count_class(page, "line", "line broken s0"), 1);
  EXPECT_EQ(count_class(page, "line", "line s1"), 5);
  EXPECT_GT(count_class(page, "path", "whisker"), 0);
  EXPECT_THAT(page.text, testing::AllOf(testing::HasSubstr("time (ms)"), testing::HasSubstr("seq (tokens)"),
                                        testing::HasSubstr("4096")));
}

TEST(ChartSvg, KeepsEverythingInsideTheDrawing) {
  const record::Experiment e = sample_attention();
  for (const record::Chart& chart : e.charts) {
    const Page page = drawn(e, chart);
    double left = 0, top = 0, width = 0, height = 0;
    ASSERT_EQ(std::sscanf(page.elements.at(0).attributes.at("viewBox").c_str(), "%lf %lf %lf %lf", &left, &top, &width,
                          &height),
              4);
    const auto inside = [](const std::string& value, double most) {
      return std::stod(value) >= 0 && std::stod(value) <= most;
    };
    for (const Element& element : page.elements)
      for (const auto& [name, value] : element.attributes) {
        EXPECT_EQ(value.find("nan"), std::string::npos);
        if (name == "x" || name == "cx" || name == "x1" || name == "x2") {
          EXPECT_TRUE(inside(value, width)) << value;
        }
        if (name == "y" || name == "cy" || name == "y1" || name == "y2") {
          EXPECT_TRUE(inside(value, height)) << value;
        }
      }
  }
}

TEST(ChartSvg, DrawsBarsFromZeroWithOutlinesWhereInvalid) {
  record::Experiment e;
  for (const char* format : {"bf16", "int8"})
    e.rows.push_back(
        {.axes = {{"format", format}}, .metrics = {sampled("rate", "FLOP/s", record::Better::higher, 4e11, 0.1)}});
  e.rows[1].validity.valid = false;
  const Page page = drawn(e, {.x = "format", .y = "rate", .bars = true});
  EXPECT_EQ(count_class(page, "rect", "bar s0"), 1);
  EXPECT_EQ(count_class(page, "rect", "bar broken s0"), 1);
  EXPECT_EQ(count_class(page, "path", "whisker ink"), 2);
  EXPECT_THAT(page.text, testing::HasSubstr("int8"));
}

TEST(IntervalBar, HoldsBandAndMeasurement) {
  IntervalBar bar{.band = record::Interval{2, 4}, .measured = record::Interval{30, 36}, .value = 33};
  fit(bar);
  EXPECT_TRUE(bar.log);
  EXPECT_LT(bar.low, 2);
  EXPECT_GT(bar.high, 36);
  IntervalBar open{.band = record::Interval{1.02, INFINITY}};
  fit(open);
  EXPECT_LT(open.low, 1.02);
  EXPECT_TRUE(std::isfinite(open.high));
  Markup out;
  out.trusted("<!DOCTYPE html>");
  draw_interval(out, open);
  const Page page = read_page(out.take());
  EXPECT_THAT(page.faults, testing::IsEmpty());
  for (const Element& element : page.elements)
    for (const auto& [name, value] : element.attributes) EXPECT_EQ(value.find("nan"), std::string::npos) << name;
}

TEST(Samples, AreThinnedWhereTheyAreMany) {
  record::Metric metric;
  metric.samples.assign(5000, 1.0);
  metric.samples[17] = NAN;
  Markup out;
  draw_samples(out, metric);
  const std::string svg = out.take();
  EXPECT_LT(svg.size(), 2000U);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  metric.samples = {1.0};
  draw_samples(out, metric);
  EXPECT_EQ(out.take(), "");
}

}  // namespace
}  // namespace rl::report
