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

void chart(Markup& out, const Experiment& experiment, const Chart& chart) {
  const ChartData data = chart_data(experiment, chart);
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
  out.open("ul", {{"class", "legend"}});
  bool invalid = false;
  for (std::size_t i = 0; i < data.series.size(); ++i) {
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
    for (const Point& p : data.series[i].points) invalid |= !p.valid;
  }
  if (invalid)
    out.leaf("li", chart.bars ? "outline without filling: invalid row" : "× and dashes: invalid row",
             {{"class", "invalid-key"}});
  out.close("ul");
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
  for (const Chart& c : experiment.charts) chart(out, experiment, c);
  out.close("div");
}

// Texts too long for a cell: a cell shows "path 2", the list below the table what that is. Equal texts share a number.
class Legend {
 public:
  explicit Legend(std::string name) : name_(std::move(name)) {}
  std::string label(const std::string& text) {
    auto found = std::find(texts_.begin(), texts_.end(), text);
    if (found == texts_.end()) found = texts_.insert(found, text);
    return fmt::format("{} {}", name_, found - texts_.begin() + 1);
  }
  void explain(Markup& out, const char* tag) const {
    constexpr std::size_t kMostShown = 6;  // more are folded
    if (texts_.size() > kMostShown)
      out.open("details").leaf("summary", fmt::format("{} 1 to {}", name_, texts_.size()));
    for (std::size_t i = 0; i < texts_.size(); ++i)
      out.open("p", {{"class", "legend-text"}})
          .leaf("b", fmt::format("{} {}: ", name_, i + 1))
          .leaf(tag, texts_[i])
          .close("p");
    if (texts_.size() > kMostShown) out.close("details");
  }

 private:
  std::string name_;
  std::vector<std::string> texts_;
};

struct Legends {
  Legend paths{"path"}, notes{"note"}, warnings{"warning"};
};

// A cell of one line of the table, or of all lines of a row.
Markup& open_cell(Markup& out, std::string_view css, std::size_t lines) {
  const std::string span = fmt::format("{}", lines);
  return lines == 1 ? out.open("td", {{"class", css}}) : out.open("td", {{"class", css}, {"rowspan", span}});
}

void metric_cell(Markup& out, const Metric* metric) {
  out.open("td", {{"class", "num"}});
  if (metric == nullptr) {
    out.leaf("span", "none", {{"class", "muted"}});
  } else {
    out.text(format_value(metric->value, metric->unit));
    if (metric->ci95) out.leaf("small", format_interval(*metric->ci95, metric->value, metric->unit));
  }
  out.close("td");
}

void validity_cell(Markup& out, const Row& row, Legends& legends, std::size_t lines = 1) {
  open_cell(out, "validity", lines);
  if (row.validity.valid)
    out.text("valid");
  else
    badge(out, {Tone::broken, "INVALID"});
  if (!row.validity.reasons.empty()) out.leaf("small", joined(row.validity.reasons, "; "));
  if (!row.validity.warnings.empty()) out.leaf("small", legends.warnings.label(joined(row.validity.warnings, "; ")));
  if (!row.note.empty()) out.leaf("small", legends.notes.label(row.note));
  out.close("td");
}

void axis_heads(Markup& out, const Axes& axes) {
  for (const std::string& axis : axes.varying) out.leaf("th", axis, {{"scope", "col"}});
}

void axis_cells(Markup& out, const Row& row, const Axes& axes, std::size_t lines = 1) {
  for (const std::string& axis : axes.varying) {
    const std::string* value = axis_value(row, axis);
    open_cell(out, "axis", lines).text(value != nullptr ? *value : "").close("td");
  }
}

// A row's path certificate: itself if it is one name, else a number.
void path_cell(Markup& out, const Row& row, Legends& legends, std::size_t lines = 1) {
  open_cell(out, "path", lines);
  if (row.path.empty()) {
    out.leaf("span", "none", {{"class", "muted"}}).close("td");
    return;
  }
  const std::string label = row.path.size() == 1 ? row.path.front() : legends.paths.label(joined(row.path, " · "));
  // A line may break after a slash, and nowhere else.
  out.open("code");
  for (std::size_t at = 0; at < label.size();) {
    const std::size_t end = std::min(label.find('/', at), label.size() - 1) + 1;
    out.text(std::string_view(label).substr(at, end - at));
    if (end < label.size()) out.empty("wbr");
    at = end;
  }
  out.close("code").close("td");
}

// A line per row, a column per metric.
void wide_table(Markup& out, const Experiment& experiment, const Axes& axes, Legends& legends) {
  const std::vector<std::string> metrics = metric_names(experiment.rows);
  out.open("thead").open("tr");
  axis_heads(out, axes);
  for (const std::string& name : metrics) {
    out.open("th", {{"scope", "col"}, {"class", "num"}}).text(words(name));
    for (const Row& row : experiment.rows)
      if (const Metric* metric = metric_of(row, name)) {
        if (const std::string facts = metric_facts(*metric); !facts.empty()) out.leaf("small", facts);
        break;
      }
    out.close("th");
  }
  out.leaf("th", "validity, notes", {{"scope", "col"}})
      .leaf("th", "path", {{"scope", "col"}})
      .close("tr")
      .close("thead")
      .open("tbody");
  for (const Row& row : experiment.rows) {
    out.open("tr", {{"class", row.validity.valid ? "" : "invalid"}});
    axis_cells(out, row, axes);
    for (const std::string& name : metrics) metric_cell(out, metric_of(row, name));
    validity_cell(out, row, legends);
    path_cell(out, row, legends);
    out.close("tr");
  }
  out.close("tbody");
}

// A line per metric of each row: for rows that have little in common.
void long_table(Markup& out, const Experiment& experiment, const Axes& axes, Legends& legends) {
  out.open("thead").open("tr");
  axis_heads(out, axes);
  out.leaf("th", "quantity", {{"scope", "col"}}).leaf("th", "value", {{"scope", "col"}, {"class", "num"}});
  out.leaf("th", "validity, notes", {{"scope", "col"}})
      .leaf("th", "path", {{"scope", "col"}})
      .close("tr")
      .close("thead")
      .open("tbody");
  for (const Row& row : experiment.rows) {
    const std::size_t lines = std::max<std::size_t>(1, row.metrics.size());
    for (std::size_t i = 0; i < lines; ++i) {
      const Metric* metric = i < row.metrics.size() ? &row.metrics[i] : nullptr;
      out.open("tr", {{"class", fmt::format("{}{}", i > 0 ? "more" : "",
                                            row.validity.valid ? ""
                                            : i > 0            ? " invalid"
                                                               : "invalid")}});
      if (i == 0) axis_cells(out, row, axes, lines);
      out.open("td");
      if (metric != nullptr) out.text(words(metric->name)).leaf("small", metric_facts(*metric));
      out.close("td");
      metric_cell(out, metric);
      if (i == 0) {
        validity_cell(out, row, legends, lines);
        path_cell(out, row, legends, lines);
      }
      out.close("tr");
    }
  }
  out.close("tbody");
}

void results(Markup& out, const Experiment& experiment) {
  if (experiment.rows.empty()) return;
  const Axes axes = axes_of(experiment.rows);
  Legends legends;
  out.leaf("h3", "Results");
  if (!axes.constant.empty()) out.leaf("p", "All rows: " + constant_text(axes) + ".", {{"class", "muted"}});
  std::size_t filled = 0;
  for (const Row& row : experiment.rows) filled += row.metrics.size();
  const std::size_t cells = experiment.rows.size() * metric_names(experiment.rows).size();
  open_table(out, "Results of " + title_of(experiment), "results");
  if (2 * filled >= cells)
    wide_table(out, experiment, axes, legends);
  else
    long_table(out, experiment, axes, legends);
  close_table(out);
  legends.paths.explain(out, "code");
  legends.warnings.explain(out, "span");
  legends.notes.explain(out, "span");
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
  results(out, e);
  comparisons(out, e);
  if (!e.rows.empty()) sampling(out, e);
  notes(out, e);
  out.close("section");
}

}  // namespace rl::report
