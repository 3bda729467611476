#include "report/quantity.h"

#include "base/units.h"

namespace rl::report {
namespace {

struct Step {
  double factor;
  const char* unit;
  double from = factor;  // the smallest value shown in it
};
constexpr Step kSeconds[] = {{1, "s"}, {1e-3, "ms"}, {1e-6, "us"}, {1e-9, "ns"}};
constexpr Step kBytes[] = {{0x1p40, "TiB"}, {0x1p30, "GiB"}, {0x1p20, "MiB"}, {0x1p10, "KiB"}, {1, "B"}};
constexpr Step kByteRate[] = {{1e12, "TB/s"}, {1e9, "GB/s"}, {1e6, "MB/s"}, {1e3, "kB/s"}, {1, "B/s"}};
constexpr Step kFlopRate[] = {{1e15, "PFLOP/s"}, {1e12, "TFLOP/s"}, {1e9, "GFLOP/s"}, {1e6, "MFLOP/s"}, {1, "FLOP/s"}};
constexpr Step kOpRate[] = {{1e15, "POP/s"}, {1e12, "TOP/s"}, {1e9, "GOP/s"}, {1e6, "MOP/s"}, {1, "OP/s"}};
constexpr Step kFlops[] = {{1e15, "PFLOP"}, {1e12, "TFLOP"}, {1e9, "GFLOP"}, {1e6, "MFLOP"}, {1, "FLOP"}};
// Single streams are told in tok/s up to ten thousand, as everywhere.
constexpr Step kTokenRate[] = {{1e6, "Mtok/s"}, {1e3, "ktok/s", 1e4}, {1, "tok/s"}};
constexpr Step kHertz[] = {{1e9, "GHz"}, {1e6, "MHz"}, {1e3, "kHz"}, {1, "Hz"}};
constexpr Step kJoules[] = {{1e3, "kJ"}, {1, "J"}, {1e-3, "mJ"}, {1e-6, "uJ"}};
constexpr Step kWatts[] = {{1e3, "kW"}, {1, "W"}, {1e-3, "mW"}};

std::span<const Step> steps_of(std::string_view unit) {
  if (unit == "s") return kSeconds;
  if (unit == "B") return kBytes;
  if (unit == "B/s") return kByteRate;
  if (unit == "FLOP/s") return kFlopRate;
  if (unit == "OP/s") return kOpRate;
  if (unit == "FLOP") return kFlops;
  if (unit == "tok/s") return kTokenRate;
  if (unit == "Hz") return kHertz;
  if (unit == "J") return kJoules;
  if (unit == "W") return kWatts;
  return {};
}

std::string with_unit(std::string number, const std::string& unit) {
  if (unit.empty()) return number;
  return number + (unit == "%" ? "" : " ") + unit;
}

std::string number(double value, int digits = 3) {
  if (std::isnan(value)) return "not a number";
  if (std::isinf(value)) return value > 0 ? "infinite" : "-infinite";
  const double size = std::abs(value);
  if (size != 0 && (size < 1e-4 || size >= 1e7)) return fmt::format("{:.{}g}", value, digits);
  return format_significant(value, digits);
}

}  // namespace

Scale scale_for(double magnitude, std::string_view unit) {
  const std::span<const Step> steps = steps_of(unit);
  if (steps.empty()) return {1, unit == "1" ? std::string() : std::string(unit)};
  magnitude = std::abs(magnitude);
  if (magnitude == 0 || !std::isfinite(magnitude)) return {1, std::string(unit)};
  // 999.6 would be printed as "1000": it belongs to the next step.
  for (const Step& step : steps)
    if (magnitude >= step.from * 0.9995) return {step.factor, step.unit};
  return {steps.back().factor, steps.back().unit};
}

std::string format_value(double value, std::string_view unit) {
  if (!std::isfinite(value)) return number(value);
  const Scale scale = scale_for(value, unit);
  // Bytes that are counted are whole: "12 B", not "12.0 B".
  if (scale.unit == "B" && value == std::floor(value)) return fmt::format("{:.0f} B", value);
  return with_unit(number(value / scale.factor), scale.unit);
}

std::string format_interval(const record::Interval& interval, double value, std::string_view unit) {
  const Scale scale = scale_for(std::isfinite(value) ? value : interval.high, unit);
  const double low = interval.low / scale.factor, high = interval.high / scale.factor;
  int digits = 3;
  while (digits < 6 && low != high && number(low, digits) == number(high, digits)) ++digits;
  return fmt::format("[{}, {}]", number(low, digits), number(high, digits));
}

std::string format_expected(const record::Interval& interval, std::string_view unit) {
  const bool low = std::isfinite(interval.low), high = std::isfinite(interval.high);
  if (!low && !high) return "no bound";
  if (!high) return "at least " + format_value(interval.low, unit);
  if (!low) return "at most " + format_value(interval.high, unit);
  const Scale scale = scale_for(interval.high, unit);
  return with_unit(fmt::format("{} to {}", number(interval.low / scale.factor), number(interval.high / scale.factor)),
                   scale.unit);
}

std::string format_metric(const record::Metric& metric) {
  std::string text = format_value(metric.value, metric.unit);
  if (metric.ci95) text += " " + format_interval(*metric.ci95, metric.value, metric.unit);
  return text;
}

std::string format_spread(const record::Metric& metric) {
  if (!metric.ci95 || metric.value == 0 || !std::isfinite(metric.value)) return {};
  const double half = 0.5 * (metric.ci95->high - metric.ci95->low) / std::abs(metric.value) * 100;
  if (!std::isfinite(half)) return {};
  return half < 0.05 ? "±<0.1%" : fmt::format("±{:.1f}%", half);
}

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e9) return "unknown";
  if (seconds < 60) return format_seconds({seconds});
  const auto whole = static_cast<std::int64_t>(std::llround(seconds));
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

std::string format_count(std::int64_t count) {
  const auto value = static_cast<double>(count);
  if (std::abs(value) >= 0.9995e9) return format_significant(value * 1e-9) + " billion";
  if (std::abs(value) >= 0.9995e6) return format_significant(value * 1e-6) + " million";
  if (std::abs(value) >= 1e4) return format_significant(value * 1e-3) + " thousand";
  return fmt::format("{}", count);
}

std::string format_timestamp(std::string_view iso) {
  if (iso.size() < 17 || iso[10] != 'T' || iso.back() != 'Z') return std::string(iso);
  return fmt::format("{} {} UTC", iso.substr(0, 10), iso.substr(11, 5));
}

std::string words(std::string_view name) {
  std::string out(name);
  std::replace(out.begin(), out.end(), '_', ' ');
  return out;
}

std::string axis_title(std::string_view axis) {
  constexpr std::pair<std::string_view, const char*> units[] = {
      {"seq", "tokens"},
      {"depth", "tokens"},
      {"tokens", "tokens"},
      {"prompt", "tokens"},
      {"context", "tokens"},
      {"kv_len", "tokens"},
      {"page_tokens", "tokens"},
      {"batch", "sequences"},
      {"seqs", "sequences"},
      {"head_dim", "elements"},
      {"hidden", "elements"},
      {"bytes", "B"},
      {"load", "% of the throughput with all requests queued"},
      {"limit", "% of the present power limit"},
  };
  for (const auto& [name, unit] : units)
    if (name == axis && name != unit) return fmt::format("{} ({})", axis, unit);
  return std::string(axis);
}

std::vector<double> nice_ticks(double low, double high, int wanted) {
  if (!(high > low) || !std::isfinite(high - low)) return {low};
  const double rough = (high - low) / std::max(1, wanted);
  const double power = std::pow(10, std::floor(std::log10(rough)));
  const double lead = rough / power;
  const double step = power * (lead < 1.4 ? 1 : lead < 3.2 ? 2 : lead < 7.1 ? 5 : 10);
  std::vector<double> ticks;
  const double first = std::ceil(low / step - 1e-9);
  for (int i = 0; i < 100 && (first + i) * step <= high + step * 1e-9; ++i) ticks.push_back((first + i) * step);
  return ticks;
}

std::vector<double> log_ticks(double low, double high) {
  if (!(low > 0) || !(high >= low) || !std::isfinite(high)) return {};
  const int first = static_cast<int>(std::floor(std::log10(low))), last = static_cast<int>(std::ceil(std::log10(high)));
  const int decades = last - first;
  std::vector<double> ticks;
  for (int exponent = first; exponent <= last; exponent += std::max(1, decades / 8))
    for (const double lead : {1.0, 2.0, 5.0}) {
      if (lead > 1 && decades > 2) continue;
      const double tick = lead * std::pow(10, exponent);
      if (tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9)) ticks.push_back(tick);
    }
  return ticks;
}

std::string format_tick(double value) {
  if (value == 0) return "0";
  const double size = std::abs(value);
  if (size >= 1e7 || size < 1e-4) return fmt::format("{:.3g}", value);
  return fmt::format("{:.10g}", value);
}

}  // namespace rl::report
