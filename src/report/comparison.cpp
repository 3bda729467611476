// A comparison of two runs for people: 80 columns, or Markdown.

#include <algorithm>
#include <cmath>

#include "base/units.h"
#include "report/quantity.h"
#include "report/report.h"
#include "report/text.h"
#include "report/view.h"

namespace rl::report {
namespace {

using namespace record;

std::string upper(std::string text) {
  for (char& c : text)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return text;
}

std::string percent(double ratio) { return format_significant((ratio - 1) * 100, 2) + "%"; }

// Worst news first; within a verdict as they came.
std::vector<const ComparedMetric*> ordered(const RunComparison& comparison) {
  std::vector<const ComparedMetric*> metrics;
  for (const ComparedMetric& metric : comparison.metrics) metrics.push_back(&metric);
  const auto rank = [](const ComparedMetric* m) {
    switch (m->result.verdict) {
      case Verdict::worse:
        return 0;
      case Verdict::better:
        return 1;
      case Verdict::inconclusive:
        return 2;
      case Verdict::same:
        return 3;
    }
    return 4;
  };
  std::stable_sort(metrics.begin(), metrics.end(), [&](const auto* a, const auto* b) { return rank(a) < rank(b); });
  return metrics;
}

std::string ratio_text(const ComparedMetric& metric) {
  const Comparison& result = metric.result;
  if (!metric.sampled && result.ci95.low == result.ci95.high) return format_value(result.ratio, "") + " (exact)";
  return format_value(result.ratio, "") + " " + format_interval(result.ci95, result.ratio, "");
}

std::string values_text(const ComparedMetric& metric) {
  return format_value(metric.baseline, metric.unit) + " -> " + format_value(metric.candidate, metric.unit);
}

std::string place_text(const ComparedMetric& metric) {
  return metric.experiment + (metric.row.empty() ? "" : ", " + metric.row) + ": " + words(metric.metric);
}

struct Count {
  std::string experiment;
  int of[4] = {};  // by verdict
  double logs = 0;
  int ratios = 0;
};

std::vector<Count> counts_of(const RunComparison& comparison) {
  std::vector<Count> counts;
  for (const ComparedMetric& metric : comparison.metrics) {
    if (counts.empty() || counts.back().experiment != metric.experiment)
      counts.push_back({.experiment = metric.experiment});
    Count& count = counts.back();
    ++count.of[static_cast<int>(metric.result.verdict)];
    if (metric.sampled && std::isfinite(metric.result.ratio)) {
      count.logs += std::log(metric.result.ratio);
      ++count.ratios;
    }
  }
  return counts;
}

std::string mean_text(const Count& count) {
  return count.ratios == 0 ? "-" : format_value(std::exp(count.logs / count.ratios), "");
}

// What the verdicts rest on, for both forms.
std::vector<std::string> method_lines(const RunComparison& comparison) {
  std::vector<std::string> lines;
  lines.push_back(
      "A ratio above 1 means that B is better; [ ] is its 95% interval. The runs were made at different times, not in "
      "turns: what the machine did between them is not controlled.");
  if (comparison.drift)
    lines.push_back(fmt::format(
        "The machine's own rates (baseline, ceilings) moved by up to {} between the runs; every interval of a timed "
        "metric is wider by that.",
        percent(*comparison.drift)));
  else
    lines.push_back(
        "Neither run says how the machine's own rates moved (no ceilings of the experiment baseline in both): no "
        "difference of speed can be told from the machine's, and none gets a verdict.");
  lines.push_back(fmt::format(
      "BETTER and WORSE: at least {} apart (counted figures: 1%), and Holm's correction for {} comparisons keeps the "
      "chance of any false one at {}. SAME: the interval lies within {}.",
      percent(1 + comparison.smallest_effect), comparison.metrics.size(), percent(1 + comparison.error),
      percent(1 + comparison.smallest_effect)));
  return lines;
}

bool refused(const RunComparison& comparison) {
  return std::any_of(comparison.differences.begin(), comparison.differences.end(),
                     [](const RunDifference& difference) { return difference.refuses; });
}

std::string remedy(const RunComparison& comparison) {
  std::string names;
  for (const RunDifference& difference : comparison.differences)
    if (difference.refuses) names += (names.empty() ? "" : ",") + difference.name;
  return "Nothing was compared. To compare what is comparable all the same: --allow-differences " + names;
}

class Lines {
 public:
  explicit Lines(int width) : width_(width) {}
  void line(std::string text) {
    while (!text.empty() && text.back() == ' ') text.pop_back();
    out_ += text + "\n";
  }
  void text(std::string_view text, int indent = 0) {
    for (const std::string& part : wrap(printable(text), width_ - indent))
      line(std::string(static_cast<std::size_t>(indent), ' ') + part);
  }
  void field(std::string_view label, std::string_view text, int label_width) {
    bool first = true;
    for (const std::string& part : wrap(printable(text), width_ - label_width)) {
      line(pad(first ? label : "", label_width) + part);
      first = false;
    }
  }
  std::string take() { return std::move(out_); }

 private:
  int width_;
  std::string out_;
};

}  // namespace

std::string comparison_terminal(const RunComparison& comparison, const ComparisonOptions& options) {
  constexpr int kLabel = 14, kShownUnsure = 12;
  Lines out(options.width);
  out.field("A (baseline)", comparison.baseline, kLabel);
  out.field("B (candidate)", comparison.candidate, kLabel);
  for (const RunDifference& difference : comparison.differences)
    out.field(difference.refuses ? "UNLIKE" : "differs",
              fmt::format("{}: {} | {}", difference.name, difference.baseline, difference.candidate), kLabel);
  for (const std::string& reason : comparison.invalid) out.field("INVALID", reason, kLabel);
  for (const std::string& reason : comparison.undecided) out.field("INCONCLUSIVE", reason, kLabel);
  if (refused(comparison)) {
    out.line("");
    out.text(remedy(comparison));
    return out.take();
  }
  out.line("");
  out.line(fmt::format("{} {:>8} {:>8} {:>8} {:>8} {:>14}", pad("experiment", kLabel), "better", "same", "worse",
                       "unsure", "mean ratio"));
  for (const Count& count : counts_of(comparison))
    out.line(fmt::format("{} {:>8} {:>8} {:>8} {:>8} {:>14}", pad(printable(count.experiment), kLabel),
                         count.of[static_cast<int>(Verdict::better)], count.of[static_cast<int>(Verdict::same)],
                         count.of[static_cast<int>(Verdict::worse)], count.of[static_cast<int>(Verdict::inconclusive)],
                         mean_text(count)));
  out.line("");
  int unsure = 0, same = 0;
  for (const ComparedMetric* metric : ordered(comparison)) {
    const Verdict verdict = metric->result.verdict;
    if (!options.all && verdict == Verdict::same && ++same > 0) continue;
    if (!options.all && verdict == Verdict::inconclusive && ++unsure > kShownUnsure) continue;
    out.field(upper(name_of(verdict)), ratio_text(*metric) + "   " + values_text(*metric), kLabel);
    out.text(place_text(*metric), kLabel);
  }
  if (unsure > kShownUnsure) out.text(fmt::format("and {} more INCONCLUSIVE", unsure - kShownUnsure), kLabel);
  if (same > 0) out.text(fmt::format("{} SAME: --all lists them", same), kLabel);
  for (const std::string& text : comparison.skipped) out.field("not compared", text, kLabel);
  out.line("");
  for (const std::string& text : method_lines(comparison)) out.text(text);
  out.line("");
  out.line(upper(name_of(judgement_of(comparison))));
  return out.take();
}

std::string comparison_markdown(const RunComparison& comparison) {
  const auto cell = [](std::string_view text) { return escape_markdown(text); };
  std::string out = fmt::format("# {} against {}: {}\n\n", cell(comparison.candidate), cell(comparison.baseline),
                                upper(name_of(judgement_of(comparison))));
  if (!comparison.differences.empty()) {
    out += "| difference | A (baseline) | B (candidate) | |\n|---|---|---|---|\n";
    for (const RunDifference& d : comparison.differences)
      out += fmt::format("| {} | {} | {} | {} |\n", cell(d.name), cell(d.baseline), cell(d.candidate),
                         d.refuses ? "unlike: not compared" : "");
    out += "\n";
  }
  for (const std::string& reason : comparison.invalid) out += fmt::format("- INVALID: {}\n", cell(reason));
  for (const std::string& reason : comparison.undecided) out += fmt::format("- INCONCLUSIVE: {}\n", cell(reason));
  for (const std::string& text : comparison.skipped) out += fmt::format("- not compared: {}\n", cell(text));
  if (!comparison.invalid.empty() || !comparison.undecided.empty() || !comparison.skipped.empty()) out += "\n";
  if (refused(comparison)) return out + cell(remedy(comparison)) + "\n";
  out += "| verdict | where | A | B | ratio [95% interval] |\n|---|---|---|---|---|\n";
  for (const ComparedMetric* metric : ordered(comparison))
    out += fmt::format("| {} | {} | {} | {} | {} |\n", upper(name_of(metric->result.verdict)),
                       cell(place_text(*metric)), cell(format_value(metric->baseline, metric->unit)),
                       cell(format_value(metric->candidate, metric->unit)), cell(ratio_text(*metric)));
  out += "\n";
  for (const std::string& text : method_lines(comparison)) out += cell(text) + "\n\n";
  return out;
}

}  // namespace rl::report
