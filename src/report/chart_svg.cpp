#include "report/chart.h"
#include "report/text.h"

namespace rl::report {
namespace {

// User units of the drawing; the page scales it to the column.
constexpr double kWidth = 540, kHeight = 310, kTop = 14, kBottom = 54, kRight = 20;

std::string at(double value) { return fmt::format("{:.1f}", value); }

// Text of 13 units takes about 7.2 a column in the fonts the page asks for.
double text_width(std::string_view text) { return 7.2 * display_width(text); }

struct Frame {
  double left = 60, right = kWidth - kRight, top = kTop, bottom = kHeight - kBottom;
  double x_low = 0, x_high = 1, y_low = 0, y_high = 1;
  bool log_x = false, log_y = false;

  static double place(double value, double low, double high, bool log) {
    if (log) value = std::log(value), low = std::log(low), high = std::log(high);
    return high > low ? std::clamp((value - low) / (high - low), 0.0, 1.0) : 0.5;
  }
  double x(double value) const { return left + place(value, x_low, x_high, log_x) * (right - left); }
  double y(double value) const { return bottom - place(value, y_low, y_high, log_y) * (bottom - top); }
  // A bound of an interval that a logarithmic axis cannot show ends at the axis.
  double y_bound(double value) const { return log_y && value <= 0 ? bottom : y(value); }
};

std::string series_class(std::string_view kind, std::size_t series) {
  return fmt::format("{} s{}", kind, series % kPalette);
}

void line(Markup& out, std::string_view css, double x1, double y1, double x2, double y2) {
  out.empty("line", {{"class", css}, {"x1", at(x1)}, {"y1", at(y1)}, {"x2", at(x2)}, {"y2", at(y2)}});
}

void whisker(Markup& out, std::string_view css, double x, double low, double high) {
  if (std::abs(low - high) < 0.3) return;
  out.empty("path",
            {{"class", css},
             {"d", fmt::format("M{0:.1f} {1:.1f}V{2:.1f}M{3:.1f} {1:.1f}h8M{3:.1f} {2:.1f}h8", x, low, high, x - 4)}});
}

void draw_axes(Markup& out, const Frame& frame, const ChartData& data, const ChartAxes& axes) {
  for (const double tick : axes.y_ticks) {
    const double y = frame.y(tick);
    line(out, "grid", frame.left, y, frame.right, y);
    out.leaf("text", format_tick(tick), {{"x", at(frame.left - 8)}, {"y", at(y + 4)}, {"text-anchor", "end"}});
  }
  line(out, "axis", frame.left, frame.bottom, frame.right, frame.bottom);
  double taken = -1e9;  // right end of the last label: those that would touch it are left out
  const auto x_label = [&](double x, const std::string& text, double room) {
    const std::string label = truncate(text, std::max(3, static_cast<int>(room / 7.2)));
    const double half = 0.5 * text_width(label);
    if (x - half < taken + 6) return;
    out.leaf("text", label, {{"x", at(x)}, {"y", at(frame.bottom + 20)}, {"text-anchor", "middle"}});
    taken = x + half;
  };
  if (data.categories) {
    const double slot = (frame.right - frame.left) / static_cast<double>(std::max<std::size_t>(1, data.labels.size()));
    for (std::size_t i = 0; i < data.labels.size(); ++i)
      x_label(frame.left + slot * (static_cast<double>(i) + 0.5), printable(data.labels[i]), slot - 6);
  } else {
    for (const double tick : axes.x_ticks) {
      const double x = frame.x(tick);
      line(out, "axis", x, frame.bottom, x, frame.bottom + 5);
      x_label(x, format_tick(tick), 200);
    }
  }
  out.leaf("text", axes.x_title,
           {{"class", "title"},
            {"x", at(0.5 * (frame.left + frame.right))},
            {"y", at(kHeight - 10)},
            {"text-anchor", "middle"}});
  const double middle = 0.5 * (frame.top + frame.bottom);
  out.leaf("text", axes.y_title,
           {{"class", "title"},
            {"x", "16"},
            {"y", at(middle)},
            {"text-anchor", "middle"},
            {"transform", fmt::format("rotate(-90 16 {:.1f})", middle)}});
}

void draw_line_series(Markup& out, const Frame& frame, const Series& series, std::size_t index, double factor,
                      const std::function<double(const Point&)>& x_of) {
  const auto y_of = [&](const Point& p) { return frame.y(p.y / factor); };
  const auto bound = [&](double value) { return frame.y_bound(value / factor); };
  // The band covers stretches of valid points that have an interval.
  std::string upper, lower;
  int length = 0;
  const auto end_band = [&] {
    if (length > 1)
      out.empty("path", {{"class", series_class("band", index)}, {"d", "M" + upper.substr(1) + lower + "Z"}});
    upper.clear(), lower.clear(), length = 0;
  };
  for (const Point& p : series.points) {
    if (!p.ci95 || !p.valid) {
      end_band();
      continue;
    }
    upper += fmt::format("L{:.1f} {:.1f}", x_of(p), bound(p.ci95->high));
    lower = fmt::format("L{:.1f} {:.1f}", x_of(p), bound(p.ci95->low)) + lower;
    ++length;
  }
  end_band();
  for (std::size_t i = 1; i < series.points.size(); ++i) {
    const Point &a = series.points[i - 1], &b = series.points[i];
    line(out, series_class(a.valid && b.valid ? "line" : "line broken", index), x_of(a), y_of(a), x_of(b), y_of(b));
  }
  for (const Point& p : series.points) {
    if (p.ci95) whisker(out, series_class("whisker", index), x_of(p), bound(p.ci95->low), bound(p.ci95->high));
    draw_mark(out, index, x_of(p), y_of(p), 4.5, p.valid);
  }
}

void draw_bar_series(Markup& out, const Frame& frame, const ChartData& data, std::size_t index, double factor,
                     double bar_base) {
  const double slot = (frame.right - frame.left) / static_cast<double>(std::max<std::size_t>(1, data.labels.size()));
  const double width = std::min(48.0, slot * 0.8 / static_cast<double>(data.series.size()));
  const double shift = (static_cast<double>(index) - 0.5 * static_cast<double>(data.series.size() - 1)) * width;
  const double base = frame.log_y ? frame.bottom : frame.y(bar_base / factor);
  for (const Point& p : data.series[index].points) {
    const double x = frame.left + slot * (p.x + 0.5) + shift, y = frame.y(p.y / factor);
    out.empty("rect", {{"class", series_class(p.valid ? "bar" : "bar broken", index)},
                       {"x", at(x - 0.45 * width)},
                       {"y", at(std::min(y, base))},
                       {"width", at(0.9 * width)},
                       {"height", at(std::abs(base - y))}});
    if (p.ci95)
      whisker(out, "whisker ink", x, frame.y_bound(p.ci95->low / factor), frame.y_bound(p.ci95->high / factor));
  }
}

void widen(double& low, double& high, double value) {
  if (!std::isfinite(value)) return;
  low = std::min(low, value);
  high = std::max(high, value);
}

}  // namespace

ChartAxes chart_axes(const ChartData& data, const record::Chart& chart) {
  constexpr double kNone = std::numeric_limits<double>::infinity();
  double low = kNone, high = -kNone, x_low = kNone, x_high = -kNone;
  std::set<double> xs;
  for (const Series& series : data.series)
    for (const Point& p : series.points) {
      widen(low, high, p.y);
      widen(x_low, x_high, p.x);
      xs.insert(p.x);
      if (!p.ci95) continue;
      widen(low, high, p.ci95->high);
      if (!chart.log_y || p.ci95->low > 0) widen(low, high, p.ci95->low);
    }
  ChartAxes axes;
  axes.x_title = axis_title(chart.x);
  axes.y_title = data.y_name;
  if (xs.empty()) return axes;
  // On a logarithmic axis the unit suits the middle, so that ticks of both ends stay short.
  axes.y =
      scale_for(chart.log_y ? std::sqrt(low) * std::sqrt(high) : std::max(std::abs(low), std::abs(high)), data.unit);
  if (!axes.y.unit.empty()) axes.y_title += " (" + axes.y.unit + ")";
  low /= axes.y.factor, high /= axes.y.factor;
  if (chart.log_y) {
    axes.y_low = low / 1.3, axes.y_high = high * 1.3;
    axes.y_ticks = log_ticks(axes.y_low, axes.y_high);
    if (axes.y_ticks.size() < 2) axes.y_ticks = nice_ticks(axes.y_low, axes.y_high, 5);
  } else {
    // From where bars begin, or zero, with some room at the far end of what is drawn.
    const double base = chart.bar_base / axes.y.factor;
    axes.y_low = low < base ? base - 1.06 * (base - low) : base;
    axes.y_high = high > base ? base + 1.06 * (high - base) : base;
    if (axes.y_low == axes.y_high) axes.y_high += 1;
    axes.y_ticks = nice_ticks(axes.y_low, axes.y_high, 5);
  }
  if (data.categories) return axes;
  const double pad = chart.log_x ? std::pow(x_high / x_low, 0.04) : 0.04 * (x_high - x_low);
  axes.x_low = chart.log_x ? x_low / pad : x_low - pad;
  axes.x_high = chart.log_x ? x_high * pad : x_high + pad;
  if (xs.size() == 1)
    axes.x_low = x_low - 0.5 * std::abs(x_low) - 1e-9, axes.x_high = x_low + 0.5 * std::abs(x_low) + 1e-9;
  // The measured lengths themselves are the best ticks, unless there are too many.
  if (xs.size() <= 12)
    axes.x_ticks.assign(xs.begin(), xs.end());
  else
    axes.x_ticks = chart.log_x ? log_ticks(axes.x_low, axes.x_high) : nice_ticks(axes.x_low, axes.x_high, 8);
  return axes;
}

void draw_mark(Markup& out, std::size_t series, double x, double y, double size, bool valid) {
  const std::string css = series_class("mark", series);
  if (!valid) {
    const double r = size + 1;
    out.empty("path", {{"class", series_class("mark broken", series)},
                       {"d", fmt::format("M{:.1f} {:.1f}l{:.1f} {:.1f}m{:.1f} 0l{:.1f} {:.1f}", x - r, y - r, 2 * r,
                                         2 * r, -2 * r, 2 * r, -2 * r)}});
    return;
  }
  const double r = size * 1.25;
  switch (series % 4) {
    case 0:
      out.empty("circle", {{"class", css}, {"cx", at(x)}, {"cy", at(y)}, {"r", at(size)}});
      break;
    case 1:
      out.empty("rect", {{"class", css},
                         {"x", at(x - size)},
                         {"y", at(y - size)},
                         {"width", at(2 * size)},
                         {"height", at(2 * size)}});
      break;
    case 2:
      out.empty("path", {{"class", css},
                         {"d", fmt::format("M{:.1f} {:.1f}l{:.1f} {:.1f}h{:.1f}Z", x, y - r, r, 1.75 * r, -2 * r)}});
      break;
    default:
      out.empty("path", {{"class", css},
                         {"d", fmt::format("M{:.1f} {:.1f}l{:.1f} {:.1f}l{:.1f} {:.1f}l{:.1f} {:.1f}Z", x, y - r, r, r,
                                           -r, r, -r, -r)}});
  }
}

void draw_svg(Markup& out, const ChartData& data, const ChartAxes& axes, const record::Chart& chart) {
  Frame frame{.x_low = axes.x_low,
              .x_high = axes.x_high,
              .y_low = axes.y_low,
              .y_high = axes.y_high,
              .log_x = chart.log_x && !data.categories && axes.x_low > 0,
              .log_y = chart.log_y};
  double widest = 0;
  for (const double tick : axes.y_ticks) widest = std::max(widest, text_width(format_tick(tick)));
  frame.left = 36 + widest;
  out.open("svg", {{"class", "static"},
                   {"viewBox", fmt::format("0 0 {} {}", kWidth, kHeight)},
                   {"role", "img"},
                   {"aria-label", fmt::format("{}: {} over {}", chart.title, axes.y_title, axes.x_title)}});
  draw_axes(out, frame, data, axes);
  const double slot = (frame.right - frame.left) / static_cast<double>(std::max<std::size_t>(1, data.labels.size()));
  const auto x_of = [&](const Point& p) { return data.categories ? frame.left + slot * (p.x + 0.5) : frame.x(p.x); };
  for (std::size_t i = 0; i < data.series.size(); ++i) {
    if (chart.bars)
      draw_bar_series(out, frame, data, i, axes.y.factor, chart.bar_base);
    else
      draw_line_series(out, frame, data.series[i], i, axes.y.factor, x_of);
  }
  out.close("svg");
}

}  // namespace rl::report
