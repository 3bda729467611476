#include "report/facts.h"
#include "report/quantity.h"
#include "report/report.h"
#include "report/text.h"
#include "report/view.h"

namespace rl::report {
namespace {

using namespace record;

class Document {
 public:
  void heading(int level, std::string_view text) {
    out_ += fmt::format("{} {}\n\n", std::string(static_cast<std::size_t>(level), '#'), escape_markdown(text));
  }
  void paragraph(std::string_view text) {
    if (!text.empty()) out_ += escape_markdown(text) + "\n\n";
  }
  void labelled(std::string_view label, std::string_view text) {
    if (!text.empty()) out_ += fmt::format("**{}** {}\n\n", escape_markdown(label), escape_markdown(text));
  }
  // Lines after the first are a table of fixed width.
  void bullet(std::string_view text) {
    const std::vector<std::string> lines = printable_lines(text);
    if (lines.empty()) return;
    out_ += "- " + escape_markdown(lines.front()) + "\n";
    if (lines.size() > 1) out_ += "\n";
    for (std::size_t i = 1; i < lines.size(); ++i) out_ += "      " + lines[i] + "\n";
    if (lines.size() > 1) out_ += "\n";
  }
  void end_list() { out_ += "\n"; }
  // Longer runs of backquotes than any inside keep the text one block.
  void code(std::string_view text) {
    std::string fence = "```";
    while (text.find(fence) != std::string_view::npos) fence += '`';
    out_ += fmt::format("{}\n{}\n{}\n\n", fence, printable(text), fence);
  }
  void table(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows) {
    row(head);
    for (std::size_t i = 0; i < head.size(); ++i) out_ += "|---";
    out_ += "|\n";
    for (const auto& cells : rows) row(cells);
    out_ += "\n";
  }
  std::string take() { return std::move(out_); }

 private:
  void row(const std::vector<std::string>& cells) {
    out_ += "|";
    for (const std::string& cell : cells) out_ += " " + escape_markdown(cell) + " |";
    out_ += "\n";
  }
  std::string out_;
};

std::string verdict_text(const Badge& badge) { return fmt::format("{} {}", tone_sign(badge.tone), badge.word); }

void answer(Document& document, const Run& run) {
  document.heading(2, "The answer");
  if (run.experiments.empty()) return document.paragraph("This run has no experiments.");
  std::vector<std::vector<std::string>> rows;
  for (const Experiment& e : run.experiments)
    rows.push_back({e.title.empty() ? e.id : e.title, expected_text(e), measured_text(e), verdict_text(badge_of(e))});
  document.table({"experiment", "expected", "measured", "verdict"}, rows);
}

void facts_table(Document& document, const char* title, const Facts& facts) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& [name, value] : facts) rows.push_back({name, value});
  document.table({title, ""}, rows);
}

void environment(Document& document, const Run& run) {
  document.heading(2, "Machine, model, run");
  if (const auto ceilings = ceilings_of(run); !ceilings.empty()) {
    std::vector<std::vector<std::string>> rows;
    for (const Ceiling& c : ceilings)
      rows.push_back({c.name + (c.valid ? "" : " (INVALID)"), format_metric(*c.metric), sampling_text(*c.metric)});
    document.table({"ceiling", "measured [95% interval]", "samples"}, rows);
  }
  facts_table(document, "machine", machine_facts(run));
  facts_table(document, "model", model_facts(run));
  facts_table(document, "run", run_facts(run));
  for (const std::string& warning : run.validity.warnings) document.labelled("Note:", warning);
}

void hypotheses(Document& document, const Experiment& experiment) {
  if (experiment.hypotheses.empty()) return;
  std::vector<std::vector<std::string>> rows;
  for (const Hypothesis& h : experiment.hypotheses)
    rows.push_back({h.claim, words(h.metric), h.where, format_expected(h.expected, "1"), measured_of(h),
                    verdict_text(badge_of(h.outcome)) + (h.reason.empty() ? "" : ": " + h.reason)});
  document.table({"claim", "metric", "where", "expected", "measured [95% interval]", "verdict"}, rows);
}

void results(Document& document, const Experiment& experiment) {
  if (experiment.rows.empty()) return;
  const Axes axes = axes_of(experiment.rows);
  const std::vector<std::string> metrics = metric_names(experiment.rows);
  if (!axes.constant.empty()) document.labelled("All rows:", constant_text(axes));
  std::vector<std::string> head;
  for (const std::string& axis : axes.varying) head.push_back(axis);
  for (const std::string& metric : metrics) head.push_back(words(metric));
  head.insert(head.end(), {"path", "valid"});
  std::vector<std::vector<std::string>> rows;
  for (const Row& row : experiment.rows) {
    std::vector<std::string> cells;
    for (const std::string& axis : axes.varying) {
      const std::string* value = axis_value(row, axis);
      cells.push_back(value != nullptr ? *value : "");
    }
    for (const std::string& name : metrics) {
      const Metric* metric = metric_of(row, name);
      cells.push_back(metric != nullptr ? format_metric(*metric) : "");
    }
    cells.push_back(joined(row.path, ", "));
    cells.push_back(validity_text(row));
    rows.push_back(std::move(cells));
  }
  document.table(head, rows);
}

void comparisons(Document& document, const Experiment& experiment) {
  if (experiment.comparisons.empty()) return;
  std::vector<std::vector<std::string>> rows;
  for (const Comparison& c : experiment.comparisons)
    rows.push_back({c.baseline, c.candidate, words(c.metric),
                    format_value(c.ratio, "1") + " " + format_interval(c.ci95, c.ratio, "1"),
                    verdict_text(badge_of(c.verdict))});
  document.paragraph("Ratios above 1 say that the candidate is better than the baseline.");
  document.table({"baseline", "candidate", "metric", "ratio [95% interval]", "verdict"}, rows);
}

void section(Document& document, const Experiment& e) {
  document.heading(2, (e.plan.empty() ? "" : e.plan + " ") + (e.title.empty() ? e.id : e.title));
  document.labelled("Verdict:", badge_of(e).word + (e.reasons.empty() ? "" : ": " + joined(e.reasons, "; ")));
  document.labelled("Meaning:", e.meaning);
  document.labelled("To do:", e.advice);
  document.labelled("To run it:", e.remedy);
  document.labelled("Question:", e.question);
  document.labelled("Baseline:", e.baseline);
  hypotheses(document, e);
  results(document, e);
  comparisons(document, e);
  for (const std::string& note : e.notes) document.bullet(note);
  if (!e.notes.empty()) document.end_list();
  if (const std::string cost = cost_text(e); !cost.empty()) document.paragraph(cost);
}

}  // namespace

std::string markdown(const Run& run) {
  Document document;
  document.heading(1, "Redline: run " + run.id);
  if (!run.validity.valid) document.labelled("INVALID:", joined(run.validity.reasons, "; "));
  if (run.finished.empty())
    document.labelled("Not finished:", "this run ended before its end; what it had measured is below.");
  answer(document, run);
  environment(document, run);
  std::vector<const Experiment*> not_built;
  for (const Experiment& e : run.experiments)
    if (e.state == State::not_built)
      not_built.push_back(&e);
    else
      section(document, e);
  if (!not_built.empty()) {
    document.heading(2, "Not built yet");
    for (const Experiment* e : not_built)
      document.bullet(fmt::format("{} {}{}{}", e->plan, e->title.empty() ? e->id : e->title,
                                  e->question.empty() ? "" : ": ", e->question));
    document.end_list();
  }
  document.heading(2, "Method");
  for (const std::string& text : method_notes()) document.bullet(text);
  document.end_list();
  document.heading(2, "How to reproduce");
  document.code(run.command);
  document.paragraph(reproduce_text(run));
  return document.take();
}

}  // namespace rl::report
