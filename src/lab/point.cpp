#include "lab/point.h"

#include <charconv>

#include <fmt/ranges.h>

namespace rl::lab {

std::optional<std::int64_t> parse_number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

namespace {

Error bad_values(std::string_view text) {
  return {.kind = ErrorKind::usage,
          .what = "cannot read the values of an axis",
          .expected = "512 or 128,256,512 or 128..4096 (doubling) or 1..16+5 (adding)",
          .found = std::string(text)};
}

Result<std::vector<std::string>> parse_range(std::string_view item, std::size_t dots) {
  constexpr std::int64_t kMost = 64, kLargest = std::int64_t{1} << 40;
  std::string_view high = item.substr(dots + 2);
  std::int64_t step = 0;
  if (const auto plus = high.find('+'); plus != high.npos) {
    const auto parsed = parse_number(high.substr(plus + 1));
    if (!parsed || *parsed <= 0 || *parsed > kLargest) return bad_values(item);
    step = *parsed;
    high = high.substr(0, plus);
  }
  const auto first = parse_number(item.substr(0, dots)), last = parse_number(high);
  if (!first || !last || *first <= 0 || *last < *first || *last > kLargest) return bad_values(item);
  std::vector<std::string> values;
  for (std::int64_t v = *first; v <= *last; v = step > 0 ? v + step : 2 * v) {
    if (std::ssize(values) == kMost)
      return Error{.kind = ErrorKind::usage,
                   .what = "too many values of an axis",
                   .expected = fmt::format("at most {} of a range", kMost),
                   .found = std::string(item)};
    values.push_back(std::to_string(v));
  }
  return values;
}

bool has(const std::vector<std::string>& values, const std::string& value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

Status check_values(const Axis& axis, const std::vector<std::string>& given) {
  if (axis.open) return ok();
  std::vector<std::string> words;
  bool numbers = false;
  for (const auto* values : {&axis.quick, &axis.full, &axis.gpu})
    for (const std::string& value : *values) {
      if (parse_number(value))
        numbers = true;
      else if (!has(words, value))
        words.push_back(value);
    }
  for (const std::string& value : given) {
    const auto number = parse_number(value);
    if (number ? numbers && *number >= 1 && *number <= kMostOfAnAxis : has(words, value)) continue;
    std::string expected = fmt::format("{}", fmt::join(words, ", "));
    if (numbers) expected += fmt::format("{}a whole number from 1 to {}", words.empty() ? "" : ", ", kMostOfAnAxis);
    return Error{.kind = ErrorKind::usage,
                 .what = "the axis has no such value",
                 .rule = "axis.value",
                 .field = "--" + axis.name,
                 .expected = std::move(expected),
                 .found = value};
  }
  return ok();
}

}  // namespace

const std::string& Point::text(std::string_view axis) const {
  for (const auto& [name, value] : values_)
    if (name == axis) return value;
  RL_CHECK_MSG(false, axis);
}

std::int64_t Point::number(std::string_view axis) const {
  const auto value = parse_number(text(axis));
  RL_CHECK_MSG(value.has_value(), axis);
  return *value;
}

std::string Point::label() const {
  std::string label;
  for (const auto& [name, value] : values_) label += fmt::format("{}{} {}", label.empty() ? "" : ", ", name, value);
  return label;
}

Result<std::vector<std::string>> parse_values(std::string_view text) {
  std::vector<std::string> values;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t comma = std::min(text.find(',', begin), text.size());
    const std::string_view item = text.substr(begin, comma - begin);
    if (item.empty()) return bad_values(text);
    if (const auto dots = item.find(".."); dots != item.npos) {
      RL_ASSIGN(const std::vector<std::string> range, parse_range(item, dots));
      for (const std::string& value : range)
        if (!has(values, value)) values.push_back(value);
    } else if (!has(values, std::string(item))) {
      values.emplace_back(item);
    }
    begin = comma + 1;
  }
  return values;
}

const std::vector<std::string>& values_of(const Axis& axis, AxisSet set, const AxisOverrides& overrides) {
  if (const auto given = overrides.find(axis.name); given != overrides.end()) return given->second;
  if (set == AxisSet::quick) return axis.quick;
  return set == AxisSet::gpu && !axis.gpu.empty() ? axis.gpu : axis.full;
}

Result<std::vector<Point>> cross(const std::vector<Axis>& axes, AxisSet set, const AxisOverrides& overrides) {
  for (const auto& [name, values] : overrides) {
    std::string names;
    bool known = false;
    for (const Axis& axis : axes) {
      known = known || axis.name == name;
      names += (names.empty() ? "--" : ", --") + axis.name;
    }
    if (!known)
      return Error{.kind = ErrorKind::usage,
                   .what = "no axis named '" + name + "'",
                   .expected = names.empty() ? "no axis" : names};
  }
  std::vector<Point> points{Point{}};
  for (const Axis& axis : axes) {
    if (const auto given = overrides.find(axis.name); given != overrides.end())
      RL_TRY(check_values(axis, given->second));
    std::vector<Point> longer;
    for (const Point& point : points)
      for (const std::string& value : values_of(axis, set, overrides)) {
        auto extended = point.values();
        extended.emplace_back(axis.name, value);
        longer.emplace_back(std::move(extended));
      }
    points = std::move(longer);
  }
  return points;
}

}  // namespace rl::lab
