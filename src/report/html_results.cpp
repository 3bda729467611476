// The table of an experiment's rows: a line per row, or, where rows have little in common, a line per metric.

#include "report/facts.h"
#include "report/html_parts.h"
#include "report/quantity.h"
#include "report/text.h"

namespace rl::report {
namespace {

using namespace record;

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

// The heads that every table ends with.
void close_heads(Markup& out) {
  out.leaf("th", "validity, notes", {{"scope", "col"}})
      .leaf("th", "path", {{"scope", "col"}})
      .close("tr")
      .close("thead")
      .open("tbody");
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
  close_heads(out);
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
  close_heads(out);
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

}  // namespace

void results_table(Markup& out, const Experiment& experiment) {
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

}  // namespace rl::report
