#pragma once
// What all forms of the report share: the headline, which axes make columns, what a chart draws.

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "record/record.h"

namespace rl::report {

// How a verdict looks. Each has a sign of its own, so that colour is never the only difference.
enum class Tone { good, better, bad, unsure, plain, broken, absent };
const char* tone_name(Tone tone);  // "good", ...: the style's class
const char* tone_sign(Tone tone);  // one column wide

struct Badge {
  Tone tone = Tone::plain;
  std::string word;
};
Badge badge_of(record::Outcome outcome);
Badge badge_of(record::Verdict verdict);
// The headline's verdict: the outcome if the experiment was done ("measured" if it had nothing to judge), else its
// state.
Badge badge_of(const record::Experiment& experiment);

// What the headline says as measured: the record's words, or why there are none.
std::string measured_text(const record::Experiment& experiment);
std::string expected_text(const record::Experiment& experiment);
std::string joined(const std::vector<std::string>& parts, std::string_view separator);

// "1 holds, 2 skipped, 26 not built yet", in the order of first appearance.
struct Tally {
  Badge badge;
  int count = 0;
};
std::vector<Tally> tally(const record::Run& run);

// The axes of an experiment's rows: those that change make columns, those that do not are said once.
struct Axes {
  std::vector<std::string> varying;
  std::vector<std::pair<std::string, std::string>> constant;
};
Axes axes_of(const std::vector<record::Row>& rows);
// The row's value of an axis; null if it has none.
const std::string* axis_value(const record::Row& row, std::string_view axis);
const record::Metric* metric_of(const record::Row& row, std::string_view name);
// "flash, 1024": the values of the varying axes.
std::string row_label(const record::Row& row, const Axes& axes);
std::vector<std::string> metric_names(const std::vector<record::Row>& rows);  // in order of first appearance
// "hot, lower is better": what is the same for all rows of a metric.
std::string metric_facts(const record::Metric& metric);
// "median of 31, 2 outliers, ended by timeout" or "counted".
std::string sampling_text(const record::Metric& metric);

// Ceilings of the machine: what the experiment `baseline` measured with probes, by the names that device/probe.h gives
// them.
struct Ceiling {
  std::string name;
  const record::Metric* metric = nullptr;
  bool valid = true;
};
std::vector<Ceiling> ceilings_of(const record::Run& run);

// A chart's data, in base units, sorted by x.
struct Point {
  double x = 0;
  std::string label;  // the axis' own text
  double y = 0;
  std::optional<record::Interval> ci95;
  std::string sampling;  // sampling_text() of the metric
  bool valid = true;
};
struct Series {
  std::string name;
  std::vector<Point> points;
};
struct ChartData {
  std::string x_name, y_name;
  std::string unit;         // of y
  bool categories = false;  // x is not a number, or bars: points stand at 0, 1, 2 ... in the order of `labels`
  std::vector<std::string> labels;
  std::vector<Series> series;
  std::string empty_reason;  // why nothing can be drawn; "" if something can
  int left_out = 0;          // rows whose value cannot be drawn (not finite, or not positive on a logarithmic axis)
};
// Rows that differ in more axes than x and series make a line for each combination, named so.
ChartData chart_data(const record::Experiment& experiment, const record::Chart& chart);

}  // namespace rl::report
