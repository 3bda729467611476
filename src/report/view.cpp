#include "report/view.h"

#include <charconv>

#include "report/quantity.h"

namespace rl::report {

using namespace record;

const char* tone_name(Tone tone) {
  switch (tone) {
    case Tone::good:
      return "good";
    case Tone::better:
      return "better";
    case Tone::bad:
      return "bad";
    case Tone::unsure:
      return "unsure";
    case Tone::plain:
      return "plain";
    case Tone::broken:
      return "broken";
    case Tone::absent:
      return "absent";
  }
  return "plain";
}

const char* tone_sign(Tone tone) {
  switch (tone) {
    case Tone::good:
      return "✓";
    case Tone::better:
      return "▲";
    case Tone::bad:
      return "✗";
    case Tone::unsure:
      return "~";
    case Tone::plain:
      return "·";
    case Tone::broken:
      return "!";
    case Tone::absent:
      return "-";
  }
  return " ";
}

Badge badge_of(Outcome outcome) {
  const auto tone = [&] {
    switch (outcome) {
      case Outcome::holds:
        return Tone::good;
      case Outcome::exceeds:
        return Tone::better;
      case Outcome::refuted:
        return Tone::bad;
      case Outcome::inconclusive:
        return Tone::unsure;
      case Outcome::skipped:
        return Tone::absent;
      case Outcome::invalid:
        return Tone::broken;
    }
    return Tone::plain;
  };
  return {tone(), name_of(outcome)};
}

Badge badge_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::same:
      return {Tone::plain, name_of(verdict)};
    case Verdict::better:
      return {Tone::good, name_of(verdict)};
    case Verdict::worse:
      return {Tone::bad, name_of(verdict)};
    case Verdict::inconclusive:
      return {Tone::unsure, name_of(verdict)};
  }
  return {};
}

Badge badge_of(const Experiment& experiment) {
  switch (experiment.state) {
    case State::done:
      // "holds" of nothing would mislead: an experiment without hypotheses has measured, and judged nothing.
      if (experiment.hypotheses.empty() &&
          (experiment.outcome == Outcome::skipped || experiment.outcome == Outcome::holds))
        return {Tone::plain, "measured"};
      return badge_of(experiment.outcome);
    case State::skipped:
    case State::not_built:
      return {Tone::absent, name_of(experiment.state)};
    case State::failed:
    case State::invalid:
      return {Tone::broken, name_of(experiment.state)};
  }
  return {};
}

std::string joined(const std::vector<std::string>& parts, std::string_view separator) {
  std::string out;
  for (const std::string& part : parts) {
    if (!out.empty()) out += separator;
    out += part;
  }
  return out;
}

std::string measured_text(const Experiment& experiment) {
  if (!experiment.measured.empty()) return experiment.measured;
  if (!experiment.reasons.empty()) return experiment.reasons.front();
  return "-";
}

std::string expected_text(const Experiment& experiment) {
  return experiment.expected.empty() ? "-" : experiment.expected;
}

std::vector<Tally> tally(const Run& run) {
  std::vector<Tally> out;
  for (const Experiment& experiment : run.experiments) {
    const Badge badge = badge_of(experiment);
    const auto known = std::find_if(out.begin(), out.end(), [&](const Tally& t) { return t.badge.word == badge.word; });
    if (known == out.end())
      out.push_back({badge, 1});
    else
      ++known->count;
  }
  return out;
}

const std::string* axis_value(const Row& row, std::string_view axis) {
  for (const auto& [name, value] : row.axes)
    if (name == axis) return &value;
  return nullptr;
}

const Metric* metric_of(const Row& row, std::string_view name) {
  for (const Metric& metric : row.metrics)
    if (metric.name == name) return &metric;
  return nullptr;
}

Axes axes_of(const std::vector<Row>& rows) {
  std::vector<std::string> names;
  for (const Row& row : rows)
    for (const auto& [name, value] : row.axes)
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  Axes axes;
  for (const std::string& name : names) {
    const std::string* first = axis_value(rows.front(), name);
    const bool same = first != nullptr && std::all_of(rows.begin(), rows.end(), [&](const Row& row) {
                        const std::string* value = axis_value(row, name);
                        return value != nullptr && *value == *first;
                      });
    if (same && rows.size() > 1)
      axes.constant.emplace_back(name, *first);
    else
      axes.varying.push_back(name);
  }
  return axes;
}

std::string row_label(const Row& row, const Axes& axes) {
  std::string out;
  for (const std::string& name : axes.varying)
    if (const std::string* value = axis_value(row, name)) out += (out.empty() ? "" : ", ") + name + " " + *value;
  return out.empty() ? "the row" : out;
}

std::vector<std::string> metric_names(const std::vector<Row>& rows) {
  std::vector<std::string> names;
  for (const Row& row : rows)
    for (const Metric& metric : row.metrics)
      if (std::find(names.begin(), names.end(), metric.name) == names.end()) names.push_back(metric.name);
  return names;
}

std::string metric_facts(const Metric& metric) {
  std::vector<std::string> parts;
  if (metric.timing != Timing::none) parts.push_back(words(name_of(metric.timing)));
  if (metric.better != Better::neither) parts.push_back(fmt::format("{} is better", name_of(metric.better)));
  return joined(parts, ", ");
}

std::string sampling_text(const Metric& metric) {
  if (metric.samples.empty()) return metric.statistic == "count" ? "counted" : metric.statistic;
  std::string text = fmt::format("{} of {}", metric.statistic, metric.samples.size());
  if (metric.outliers > 0) text += fmt::format(", {} outlier{}", metric.outliers, metric.outliers == 1 ? "" : "s");
  if (metric.discarded > 0) text += fmt::format(", {} discarded", metric.discarded);
  if (metric.stop == Stop::timeout || metric.stop == Stop::max_samples)
    text += fmt::format(", ended by {}", words(name_of(metric.stop)));
  return text;
}

std::vector<Ceiling> ceilings_of(const Run& run) {
  std::vector<Ceiling> out;
  for (const Experiment& experiment : run.experiments) {
    if (experiment.id != "baseline") continue;
    for (const Row& row : experiment.rows)
      for (const Metric& metric : row.metrics)
        if (metric.name.starts_with("read_bandwidth") || metric.name.starts_with("matrix_rate") ||
            metric.name == "launch_rate")
          out.push_back({words(metric.name), &metric, row.validity.valid});
  }
  return out;
}

namespace {

std::optional<double> as_number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

bool matches(const Row& row, const Chart& chart) {
  return std::all_of(chart.where.begin(), chart.where.end(), [&](const auto& condition) {
    const std::string* value = axis_value(row, condition.first);
    return value != nullptr && *value == condition.second;
  });
}

// What a reader sees of an axis value.
const std::string& shown(const std::string& value) {
  static const std::string own = "the run's model";
  return value == record::kOwnModel ? own : value;
}

// The series' own value first, then each other axis that changes among the chart's rows.
std::string series_name(const Row& row, const Chart& chart, const std::set<std::string>& others) {
  std::string name;
  if (const std::string* value = axis_value(row, chart.series))
    name = as_number(*value) ? chart.series + " " + *value : shown(*value);
  for (const auto& [axis, value] : row.axes)
    if (others.contains(axis)) name += (name.empty() ? "" : ", ") + axis + " " + shown(value);
  return name.empty() ? words(chart.y) : name;
}

}  // namespace

ChartData chart_data(const Experiment& experiment, const Chart& chart) {
  ChartData data{.x_name = chart.x, .y_name = words(chart.y)};
  std::vector<const Row*> rows;
  for (const Row& row : experiment.rows)
    if (matches(row, chart) && axis_value(row, chart.x) != nullptr && metric_of(row, chart.y) != nullptr)
      rows.push_back(&row);
  if (rows.empty()) {
    data.empty_reason = fmt::format("no row has both {} and {}", chart.x, chart.y);
    return data;
  }
  data.unit = metric_of(*rows.front(), chart.y)->unit;
  data.categories = chart.bars;
  std::map<std::string, std::set<std::string>> values;
  for (const Row* row : rows) {
    if (!as_number(*axis_value(*row, chart.x))) data.categories = true;
    for (const auto& [axis, value] : row->axes) values[axis].insert(value);
  }
  std::set<std::string> others;
  for (const auto& [axis, set] : values)
    if (axis != chart.x && axis != chart.series && set.size() > 1) others.insert(axis);

  for (const Row* row : rows) {
    const Metric& metric = *metric_of(*row, chart.y);
    Point point{.label = shown(*axis_value(*row, chart.x)),
                .y = metric.value,
                .ci95 = metric.ci95,
                .sampling = sampling_text(metric),
                .valid = row->validity.valid};
    if (data.categories) {
      const auto known = std::find(data.labels.begin(), data.labels.end(), point.label);
      point.x = static_cast<double>(known - data.labels.begin());
    } else {
      point.x = *as_number(point.label);
    }
    const bool drawable = std::isfinite(point.y) && metric.unit == data.unit && !(chart.log_y && point.y <= 0) &&
                          !(chart.log_x && !data.categories && point.x <= 0);
    if (!drawable) {
      ++data.left_out;
      continue;
    }
    if (data.categories && point.x == static_cast<double>(data.labels.size())) data.labels.push_back(point.label);
    const std::string name = series_name(*row, chart, others);
    auto series = std::find_if(data.series.begin(), data.series.end(), [&](const Series& s) { return s.name == name; });
    if (series == data.series.end()) series = data.series.insert(series, Series{name, {}});
    series->points.push_back(std::move(point));
  }
  for (Series& series : data.series)
    std::stable_sort(series.points.begin(), series.points.end(),
                     [](const Point& a, const Point& b) { return a.x < b.x; });
  if (data.series.empty()) data.empty_reason = "no row has a value that can be drawn";
  return data;
}

}  // namespace rl::report
