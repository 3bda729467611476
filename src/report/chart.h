#pragma once
// The two forms of a chart, from the same data: static SVG and what assets/report.js gives to Chart.js.

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "record/record.h"
#include "report/markup.h"
#include "report/quantity.h"
#include "report/view.h"

namespace rl::report {

inline constexpr int kPalette = 8;  // colours and marks in report.css and report.js; more series repeat them

// One scale and one range for both forms.
struct ChartAxes {
  Scale y;                       // values are shown divided by its factor
  double y_low = 0, y_high = 1;  // shown units
  double x_low = 0, x_high = 1;  // of a numeric x
  std::vector<double> x_ticks, y_ticks;
  std::string x_title, y_title;
};
ChartAxes chart_axes(const ChartData& data, const record::Chart& chart);

void draw_svg(Markup& out, const ChartData& data, const ChartAxes& axes, const record::Chart& chart);

// Points in base units, exactly the rows' values; '<', '>' and '&' are escaped, so that it can stand inside a script.
std::string chart_json(const ChartData& data, const ChartAxes& axes, const record::Chart& chart);

// The mark of a series: also in the legend. `size` is its radius.
void draw_mark(Markup& out, std::size_t series, double x, double y, double size, bool valid = true);

// One line of a table: the measured interval over the expected one (or over a band around 1).
struct IntervalBar {
  std::optional<record::Interval> band;  // expected; an infinite bound reaches the edge
  std::optional<record::Interval> measured;
  std::optional<double> value;
  std::optional<double> reference;  // a thin line, e.g. at 1
  double low = 0, high = 1;         // what is shown
  bool log = false;
  Tone tone = Tone::plain;
  bool labels = true;  // of the band's bounds
};
// Chooses low, high and log so that everything given is inside.
void fit(IntervalBar& bar);
void draw_interval(Markup& out, const IntervalBar& bar);

// The samples of a metric in the order taken; for seeing drift and outliers, not for reading values.
void draw_samples(Markup& out, const record::Metric& metric);

}  // namespace rl::report
