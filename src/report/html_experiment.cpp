#include "report/chart.h"
#include "report/facts.h"
#include "report/html_parts.h"
#include "report/quantity.h"
#include "report/text.h"

namespace rl::report {
namespace {

using namespace record;

void hypotheses(Markup& out, const Experiment& experiment) {
  if (experiment.hypotheses.empty()) return;
  out.leaf("h3", "Hypotheses");
  open_table(out, "Hypotheses of " + title_of(experiment), "hypotheses");
  head_row(out, {"claim", "expected", "measured", "expected band, measured interval", "verdict"});
  out.open("tbody");
  for (const Hypothesis& h : experiment.hypotheses) {
    const Badge verdict = badge_of(h.outcome);
    out.open("tr").open("th", {{"scope", "row"}}).text(h.claim);
    std::string about = words(h.metric);
    if (!h.where.empty()) about += (about.empty() ? "" : ", ") + h.where;
    if (!about.empty()) out.leaf("small", about);
    out.close("th");
    out.leaf("td", format_expected(h.expected, "1"), {{"class", "num"}, {"data-label", "expected"}});
    out.open("td", {{"class", "num"}, {"data-label", "measured"}});
    if (h.measured_value || h.measured) {
      const double value = h.measured_value ? *h.measured_value : 0.5 * (h.measured->low + h.measured->high);
      out.leaf("b", h.measured_value ? format_value(value, "1") : "");
      if (h.measured) out.leaf("small", format_interval(*h.measured, value, "1"));
    } else {
      out.text("not measured");
    }
    out.close("td").open("td", {{"class", "bar"}});
    IntervalBar bar{.band = h.expected, .measured = h.measured, .value = h.measured_value, .tone = verdict.tone};
    fit(bar);
    draw_interval(out, bar);
    out.close("td").open("td", {{"class", "verdict"}});
    badge(out, verdict);
    if (!h.reason.empty()) out.leaf("small", h.reason);
    out.close("td").close("tr");
  }
  out.close("tbody");
  close_table(out);
}

void draw_chart(Markup& out, const Experiment& experiment, Chart chart) {
  const ChartData data = chart_data(experiment, chart);
  chart.bars = chart.bars || data.categories;  // names have no order that a line could follow
  out.open("figure", {{"class", "chart"}}).open("figcaption").leaf("b", chart.title);
  std::string about;
  for (const auto& [axis, value] : chart.where) about += (about.empty() ? "" : ", ") + axis + " " + value;
  const auto interval = std::any_of(data.series.begin(), data.series.end(), [](const Series& s) {
    return std::any_of(s.points.begin(), s.points.end(), [](const Point& p) { return p.ci95.has_value(); });
  });
  if (interval) about += std::string(about.empty() ? "" : "; ") + "whiskers: 95% intervals";
  if (data.left_out > 0)
    about += fmt::format("{}{} row{} cannot be drawn, see the table", about.empty() ? "" : "; ", data.left_out,
                         data.left_out == 1 ? "" : "s");
  if (!about.empty()) out.leaf("small", about);
  out.close("figcaption");
  if (!data.empty_reason.empty()) {
    out.leaf("p", "Not drawn: " + data.empty_reason + ".", {{"class", "muted"}}).close("figure");
    return;
  }
  bool invalid = false;
  for (const Series& series : data.series)
    for (const Point& p : series.points) invalid |= !p.valid;
  const bool axis_says_it = data.series.size() == 1 && data.series[0].name == data.y_name;
  if (!axis_says_it || invalid) out.open("ul", {{"class", "legend"}});
  for (std::size_t i = 0; i < data.series.size() && !axis_says_it; ++i) {
    out.open("li").open("span", {{"class", "key"}, {"data-series", fmt::format("{}", i)}});
    const char* width = chart.bars ? "12" : "28";
    out.open(
        "svg",
        {{"viewBox", fmt::format("0 0 {} 14", width)}, {"width", width}, {"height", "14"}, {"aria-hidden", "true"}});
    if (chart.bars) {
      out.empty(
          "rect",
          {{"class", fmt::format("bar s{}", i % kPalette)}, {"x", "0"}, {"y", "1"}, {"width", "12"}, {"height", "12"}});
    } else {
      out.empty(
          "line",
          {{"class", fmt::format("line s{}", i % kPalette)}, {"x1", "0"}, {"y1", "7"}, {"x2", "28"}, {"y2", "7"}});
      draw_mark(out, i, 14, 7, 4.5);
    }
    out.close("svg").text(data.series[i].name).close("span").close("li");
  }
  if (invalid)
    out.leaf("li", chart.bars ? "outline without filling: invalid row" : "× and dashes: invalid row",
             {{"class", "invalid-key"}});
  if (!axis_says_it || invalid) out.close("ul");
  const ChartAxes axes = chart_axes(data, chart);
  out.open("div", {{"class", "plot"}});
  draw_svg(out, data, axes, chart);
  out.close("div");
  out.open("script", {{"type", "application/json"}}).trusted(chart_json(data, axes, chart)).close("script");
  out.close("figure");
}

void charts(Markup& out, const Experiment& experiment) {
  if (experiment.charts.empty()) return;
  out.leaf("h3", "Charts").open("div", {{"class", "charts"}});
  for (const Chart& c : experiment.charts) draw_chart(out, experiment, c);
  out.close("div");
}

void comparisons(Markup& out, const Experiment& experiment) {
  if (experiment.comparisons.empty()) return;
  // One range for all, so that the bars can be compared with each other.
  IntervalBar range{.reference = 1.0};
  double low = 1, high = 1;
  for (const Comparison& c : experiment.comparisons)
    for (const double value : {c.ratio, c.ci95.low, c.ci95.high})
      if (std::isfinite(value)) low = std::min(low, value), high = std::max(high, value);
  range.measured = Interval{low, high};
  fit(range);

  out.leaf("h3", "Comparisons");
  out.leaf("p",
           "Ratios above 1 say that the candidate is better. The line marks 1, the band around it differences too "
           "small to count.",
           {{"class", "muted"}});
  open_table(out, "Comparisons of " + title_of(experiment), "comparisons");
  head_row(out, {"candidate against baseline", "metric", "ratio",
                 fmt::format("ratio, {} to {}{}", format_value(range.low, "1"), format_value(range.high, "1"),
                             range.log ? ", logarithmic" : ""),
                 "verdict"});
  out.open("tbody");
  for (const Comparison& c : experiment.comparisons) {
    const Badge verdict = badge_of(c.verdict);
    out.open("tr").open("th", {{"scope", "row"}}).text(c.candidate).leaf("small", "against " + c.baseline).close("th");
    out.leaf("td", words(c.metric), {{"data-label", "metric"}});
    out.open("td", {{"class", "num"}, {"data-label", "ratio"}})
        .leaf("b", format_value(c.ratio, "1"))
        .leaf("small", format_interval(c.ci95, c.ratio, "1"))
        .close("td");
    out.open("td", {{"class", "bar"}});
    IntervalBar bar = range;
    bar.band = Interval{1 / (1 + c.smallest_effect), 1 + c.smallest_effect};
    bar.measured = c.ci95;
    bar.value = c.ratio;
    bar.tone = verdict.tone;
    bar.labels = false;
    draw_interval(out, bar);
    out.close("td").open("td", {{"class", "verdict"}});
    badge(out, verdict);
    out.close("td").close("tr");
  }
  out.close("tbody");
  close_table(out);
}

// How each number was taken: for those who doubt it.
void sampling(Markup& out, const Experiment& experiment) {
  const Axes axes = axes_of(experiment.rows);
  const auto sampled = [](const Row& row) {
    return std::any_of(row.metrics.begin(), row.metrics.end(), [](const Metric& m) { return !m.samples.empty(); });
  };
  if (std::none_of(experiment.rows.begin(), experiment.rows.end(), sampled)) return;
  out.open("details").leaf("summary", "How each number was taken: samples, noise, stop rule");
  open_table(out, "Samples of " + title_of(experiment), "sampling");
  head_row(out, {"row", "metric", "samples", "95% half width", "noise (rel. std. dev.)", "warm-up", "outliers",
                 "discarded", "ended by", "in the order taken"});
  out.open("tbody");
  for (const Row& row : experiment.rows)
    for (const Metric& m : row.metrics) {
      if (m.samples.empty()) continue;
      out.open("tr", {{"class", row.validity.valid ? "" : "invalid"}});
      out.leaf("th", row_label(row, axes), {{"scope", "row"}});
      out.open("td").text(words(m.name)).leaf("small", m.statistic).close("td");
      out.leaf("td",
               m.inner > 1 ? fmt::format("{} of {} each", m.samples.size(), m.inner)
                           : fmt::format("{}", m.samples.size()),
               {{"class", "num"}})
          .leaf("td", format_spread(m), {{"class", "num"}});
      out.leaf("td", m.noise ? fmt::format("{:.2f}%", 100 * *m.noise) : "unknown", {{"class", "num"}});
      for (const int count : {m.warmup, m.outliers, m.discarded})
        out.leaf("td", fmt::format("{}", count), {{"class", "num"}});
      out.leaf("td", m.stop == Stop::none ? "" : words(name_of(m.stop)));
      out.open("td", {{"class", "bar"}});
      draw_samples(out, m);
      out.close("td").close("tr");
    }
  out.close("tbody");
  close_table(out);
  out.close("details");
}

// A note of several lines is a sentence with a table of fixed width below it.
void notes(Markup& out, const Experiment& experiment) {
  if (experiment.notes.empty()) return;
  out.leaf("h3", "Notes").open("ul", {{"class", "notes"}});
  for (const std::string& note : experiment.notes) {
    const std::vector<std::string> lines = printable_lines(note);
    if (lines.empty()) continue;
    out.open("li").prose(lines.front());
    if (lines.size() > 1) {
      out.open("pre");
      for (std::size_t i = 1; i < lines.size(); ++i) out.text(lines[i]).trusted("\n");
      out.close("pre");
    }
    out.close("li");
  }
  out.close("ul");
}

void say(Markup& out, const char* label, const std::string& text) {
  if (!text.empty()) out.leaf("dt", label).open("dd").prose(text).close("dd");
}

}  // namespace

std::string title_of(const Experiment& experiment) {
  return experiment.title.empty() ? experiment.id : experiment.title;
}
std::string plan_text(const Experiment& experiment) {
  const bool numbered = !experiment.plan.empty() && experiment.plan.front() >= '0' && experiment.plan.front() <= '9';
  return (numbered ? "plan " : "") + experiment.plan;
}
std::string anchor_of(const Experiment& experiment) { return "experiment-" + slug(experiment.id); }
bool has_chart(const Experiment& experiment) {
  return std::any_of(experiment.charts.begin(), experiment.charts.end(),
                     [&](const Chart& c) { return chart_data(experiment, c).empty_reason.empty(); });
}

void experiment_section(Markup& out, const Experiment& e) {
  out.open("section", {{"class", "experiment"}, {"id", anchor_of(e)}});
  out.open("header").open("div");
  out.leaf("p", (e.plan.empty() ? "" : plan_text(e) + " · ") + e.id, {{"class", "kicker"}})
      .leaf("h2", title_of(e))
      .close("div");
  badge(out, badge_of(e));
  out.close("header");
  if (!e.question.empty()) out.leaf("p", e.question, {{"class", "question"}});
  out.open("dl", {{"class", "conclusion"}});
  say(out, "Why", joined(e.reasons, "; "));
  say(out, "Meaning", e.meaning);
  say(out, "To do", e.advice);
  say(out, e.state == State::skipped ? "To run it" : "To do", e.remedy);
  say(out, "Baseline", e.baseline);
  say(out, "Cost", cost_text(e));
  out.close("dl");
  hypotheses(out, e);
  charts(out, e);
  results_table(out, e);
  comparisons(out, e);
  if (!e.rows.empty()) sampling(out, e);
  notes(out, e);
  out.close("section");
}

}  // namespace rl::report
