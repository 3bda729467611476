#include "base/units.h"

#include <charconv>
#include <cmath>

namespace rl {
namespace {

struct Scale {
  double factor;
  const char* unit;
};

template <std::size_t N>
std::string scaled(double value, const Scale (&scales)[N]) {
  const Scale* chosen = &scales[N - 1];
  for (const Scale& scale : scales)
    if (std::abs(value) >= scale.factor * 0.9995) {
      chosen = &scale;
      break;
    }
  return fmt::format("{} {}", format_significant(value / chosen->factor), chosen->unit);
}

}  // namespace

std::string format_significant(double value, int digits) {
  if (!std::isfinite(value)) return fmt::format("{}", value);
  if (value == 0) return "0";
  const int exponent = static_cast<int>(std::floor(std::log10(std::abs(value) * (1 + 0.5 * std::pow(10, -digits)))));
  return fmt::format("{:.{}f}", value, std::max(0, digits - 1 - exponent));
}

std::string format_bytes(Bytes bytes) {
  constexpr Scale scales[] = {{1e12, "TB"}, {1e9, "GB"}, {1e6, "MB"}, {1e3, "kB"}, {1, "B"}};
  return scaled(static_cast<double>(bytes.count), scales);
}

std::string format_binary_bytes(Bytes bytes) {
  constexpr Scale scales[] = {{0x1p40, "TiB"}, {0x1p30, "GiB"}, {0x1p20, "MiB"}, {0x1p10, "KiB"}, {1, "B"}};
  return scaled(static_cast<double>(bytes.count), scales);
}

std::string format_seconds(Seconds seconds) {
  constexpr Scale scales[] = {{60, "min"}, {1, "s"}, {1e-3, "ms"}, {1e-6, "us"}, {1e-9, "ns"}};
  return scaled(seconds.count, scales);
}

std::string format_rate(BytesPerSecond rate) {
  constexpr Scale scales[] = {{1e12, "TB/s"}, {1e9, "GB/s"}, {1e6, "MB/s"}, {1e3, "kB/s"}, {1, "B/s"}};
  return scaled(rate.count, scales);
}

std::string format_flops(FlopsPerSecond rate) {
  constexpr Scale scales[] = {{1e12, "TFLOP/s"}, {1e9, "GFLOP/s"}, {1e6, "MFLOP/s"}, {1, "FLOP/s"}};
  return scaled(rate.count, scales);
}

Result<Bytes> parse_bytes(std::string_view text) {
  const auto bad = [&] {
    return Error{.kind = ErrorKind::usage,
                 .what = "cannot read a size",
                 .expected = "a number and a unit, such as 32GiB, 24GB, 512MiB or 4096B",
                 .found = std::string(text)};
  };
  double number = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (code != std::errc() || !(number >= 0)) return bad();
  std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
  while (unit.starts_with(' ')) unit.remove_prefix(1);
  double factor = 1;
  if (!unit.empty() && unit != "B") {
    constexpr std::string_view kPrefixes = "KMGT";
    const std::size_t power = kPrefixes.find(unit[0] == 'k' ? 'K' : unit[0]);
    const bool binary = unit.substr(1) == "iB";
    if (power == kPrefixes.npos || (!binary && unit.substr(1) != "B")) return bad();
    factor = std::pow(binary ? 1024.0 : 1000.0, static_cast<double>(power + 1));
  }
  const double bytes = std::round(number * factor);
  if (!(bytes <= 0x1p62)) return bad();
  return Bytes{static_cast<std::int64_t>(bytes)};
}

}  // namespace rl
