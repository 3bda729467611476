#include "base/units.h"

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

}  // namespace rl
