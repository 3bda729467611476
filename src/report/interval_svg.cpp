#include "report/chart.h"

namespace rl::report {
namespace {

constexpr double kWidth = 240, kHeight = 40, kMiddle = 14, kMargin = 8;

std::string at(double value) { return fmt::format("{:.1f}", value); }

double place(const IntervalBar& bar, double value) {
  const double edge = value > 0 ? kWidth - kMargin : kMargin;
  if (!std::isfinite(value)) return edge;
  double low = bar.low, high = bar.high;
  if (bar.log) {
    if (value <= 0) return kMargin;
    value = std::log(value), low = std::log(low), high = std::log(high);
  }
  return kMargin + std::clamp((value - low) / (high - low), 0.0, 1.0) * (kWidth - 2 * kMargin);
}

}  // namespace

void fit(IntervalBar& bar) {
  std::vector<double> values;
  const auto add = [&](double value) {
    if (std::isfinite(value)) values.push_back(value);
  };
  for (const auto& interval : {bar.band, bar.measured})
    if (interval) add(interval->low), add(interval->high);
  if (bar.value) add(*bar.value);
  if (bar.reference) add(*bar.reference);
  if (values.empty()) return;
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  bar.log = *low > 0 && *high / *low > 3;
  if (bar.log) {
    const double pad = std::pow(*high / *low, 0.12);
    bar.low = *low / pad, bar.high = *high * pad;
  } else {
    const double pad = *high > *low ? 0.12 * (*high - *low) : std::max(0.1 * std::abs(*high), 1e-12);
    bar.low = *low - pad, bar.high = *high + pad;
  }
}

void draw_interval(Markup& out, const IntervalBar& bar) {
  out.open("svg", {{"class", "interval"},
                   {"viewBox", fmt::format("0 0 {} {}", kWidth, bar.labels ? kHeight : 2 * kMiddle)},
                   {"aria-hidden", "true"}});
  out.empty(
      "line",
      {{"class", "axis"}, {"x1", at(kMargin)}, {"y1", at(kMiddle)}, {"x2", at(kWidth - kMargin)}, {"y2", at(kMiddle)}});
  if (bar.band) {
    const double low = std::isfinite(bar.band->low) ? place(bar, bar.band->low) : kMargin;
    const double high = std::isfinite(bar.band->high) ? place(bar, bar.band->high) : kWidth - kMargin;
    out.empty("rect", {{"class", "expected"},
                       {"x", at(low)},
                       {"y", "4"},
                       {"width", at(std::max(1.0, high - low))},
                       {"height", "20"},
                       {"rx", "2"}});
    if (bar.labels) {
      const bool both = std::isfinite(bar.band->low) && std::isfinite(bar.band->high);
      if (both && high - low < 44) {
        const double middle = std::clamp(0.5 * (low + high), 40.0, kWidth - 40);
        out.leaf("text", format_expected(*bar.band, "1"), {{"x", at(middle)}, {"y", "37"}, {"text-anchor", "middle"}});
      } else {
        for (const auto& [x, value] : {std::pair{low, bar.band->low}, std::pair{high, bar.band->high}})
          if (std::isfinite(value))
            out.leaf("text", format_value(value, "1"),
                     {{"x", at(std::clamp(x, 16.0, kWidth - 16))}, {"y", "37"}, {"text-anchor", "middle"}});
      }
    }
  }
  if (bar.reference) {
    const double x = place(bar, *bar.reference);
    out.empty("line", {{"class", "reference"}, {"x1", at(x)}, {"y1", "2"}, {"x2", at(x)}, {"y2", "26"}});
  }
  const std::string tone = std::string("measured tone-") + tone_name(bar.tone);
  if (bar.measured) {
    const double low = place(bar, bar.measured->low), high = place(bar, bar.measured->high);
    out.empty("path", {{"class", tone},
                       {"d", fmt::format("M{:.1f} {}H{:.1f}M{:.1f} 9v10M{:.1f} 9v10", low, kMiddle, high, low, high)}});
  }
  if (bar.value && std::isfinite(*bar.value))
    out.empty("circle",
              {{"class", tone + " dot"}, {"cx", at(place(bar, *bar.value))}, {"cy", at(kMiddle)}, {"r", "4.5"}});
  out.close("svg");
}

void draw_samples(Markup& out, const record::Metric& metric) {
  constexpr double width = 160, height = 28, margin = 3;
  constexpr std::size_t kMost = 80;  // points; more samples are thinned evenly
  std::vector<double> values;
  const std::size_t step = std::max<std::size_t>(1, (metric.samples.size() + kMost - 1) / kMost);
  for (std::size_t i = 0; i < metric.samples.size(); i += step)
    if (std::isfinite(metric.samples[i])) values.push_back(metric.samples[i]);
  if (values.size() < 2) return;
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  const double range = *high > *low ? *high - *low : 1;
  std::string path;
  for (std::size_t i = 0; i < values.size(); ++i)
    path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L",
                        margin + (width - 2 * margin) * static_cast<double>(i) / static_cast<double>(values.size() - 1),
                        height - margin - (height - 2 * margin) * (values[i] - *low) / range);
  out.open("svg",
           {{"class", "samples"}, {"viewBox", fmt::format("0 0 {} {}", width, height)}, {"aria-hidden", "true"}});
  out.empty("path", {{"d", path}}).close("svg");
}

}  // namespace rl::report
