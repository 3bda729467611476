#pragma once
// Quantities as types. GB = 1e9 bytes, GiB = 2^30 bytes.

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace rl {

struct Bytes {
  std::int64_t count = 0;
  friend constexpr auto operator<=>(Bytes, Bytes) = default;
  friend constexpr Bytes operator+(Bytes a, Bytes b) { return {a.count + b.count}; }
  friend constexpr Bytes operator-(Bytes a, Bytes b) { return {a.count - b.count}; }
  constexpr Bytes& operator+=(Bytes b) { return count += b.count, *this; }
  constexpr double gb() const { return static_cast<double>(count) * 1e-9; }
};

struct Seconds {
  double count = 0;
  friend constexpr auto operator<=>(Seconds, Seconds) = default;
  friend constexpr Seconds operator+(Seconds a, Seconds b) { return {a.count + b.count}; }
  friend constexpr Seconds operator-(Seconds a, Seconds b) { return {a.count - b.count}; }
  constexpr Seconds& operator+=(Seconds b) { return count += b.count, *this; }
};

struct Joules {
  double count = 0;
  friend constexpr auto operator<=>(Joules, Joules) = default;
};

struct BytesPerSecond {
  double count = 0;
  friend constexpr auto operator<=>(BytesPerSecond, BytesPerSecond) = default;
  constexpr double gb_per_second() const { return count * 1e-9; }
};

struct FlopsPerSecond {
  double count = 0;
  friend constexpr auto operator<=>(FlopsPerSecond, FlopsPerSecond) = default;
};

constexpr BytesPerSecond operator/(Bytes b, Seconds s) { return {static_cast<double>(b.count) / s.count}; }

namespace literals {
constexpr Bytes operator""_KiB(unsigned long long n) { return {static_cast<std::int64_t>(n) << 10}; }
constexpr Bytes operator""_MiB(unsigned long long n) { return {static_cast<std::int64_t>(n) << 20}; }
constexpr Bytes operator""_GiB(unsigned long long n) { return {static_cast<std::int64_t>(n) << 30}; }
}  // namespace literals

// Text for people: "14.7 MB", "2.50 GiB", "183 us", "1.2 ms", "31.5 GB/s", "412 GFLOP/s". Three significant digits.
std::string format_bytes(Bytes bytes);         // powers of 1000
std::string format_binary_bytes(Bytes bytes);  // powers of 1024
std::string format_seconds(Seconds seconds);
std::string format_rate(BytesPerSecond rate);
std::string format_flops(FlopsPerSecond rate);
std::string format_significant(double value, int digits = 3);

// "32GiB", "24 GB", "1.5MiB", "4096", "4096 B": K, M, G or T with "iB" for powers of 1024 and "B" for powers of 1000.
// Errors: usage.
Result<Bytes> parse_bytes(std::string_view text);

}  // namespace rl
