#pragma once
// Conversions between float or double and the formats of formats.h, exact to the bit and usable in constant
// expressions. A `.cu` file may include this header.
//
// Rounding is to nearest, ties to even, from the exact source value: from_double never rounds twice. Results beyond the
// largest finite value become infinity in bf16 and fp16, and the largest finite value in fp8, infinities too, as CUDA's
// __NV_SATFINITE does. A NaN becomes a quiet NaN: in bf16 and fp16 of its sign and the upper bits of its payload, as
// x86's vcvtneps2bf16 and vcvtps2ph have it; in fp8 the code 0x7f, as CUDA's conversions have it.

#include <bit>
#include <cstdint>

#include "num/formats.h"

namespace rl::num {

// What a format of 16 or 8 bits is made of.
struct Anatomy {
  int mantissa_bits = 0;
  int min_exponent = 0;        // of the spacing of subnormals: the smallest positive value is 2^min_exponent
  std::uint32_t max_code = 0;  // largest finite value
  std::uint32_t overflow = 0;  // what lies beyond it becomes
  std::uint32_t nan = 0;       // the NaN made of a NaN
  std::uint32_t sign = 0;      // the sign bit
  bool keeps_nan = false;      // a NaN's sign and payload
};

template <class T>
inline constexpr Anatomy kAnatomy{};
template <>
inline constexpr Anatomy kAnatomy<bf16>{7, -133, 0x7f7f, 0x7f80, 0x7fc0, 0x8000, true};
template <>
inline constexpr Anatomy kAnatomy<fp16>{10, -24, 0x7bff, 0x7c00, 0x7e00, 0x8000, true};
template <>
inline constexpr Anatomy kAnatomy<fp8_e4m3>{3, -9, 0x7e, 0x7e, 0x7f, 0x80, false};
template <>
inline constexpr Anatomy kAnatomy<fp8_e5m2>{2, -16, 0x7b, 0x7b, 0x7f, 0x80, false};

namespace detail {

// The code of significand * 2^exponent, without sign.
constexpr std::uint32_t round_to_code(const Anatomy& to, std::uint64_t significand, int exponent) {
  if (significand == 0) return 0;
  const int leading = static_cast<int>(std::bit_width(significand)) - 1 + exponent;
  const int last_place = leading - to.mantissa_bits > to.min_exponent ? leading - to.mantissa_bits : to.min_exponent;
  const int shift = last_place - exponent;
  std::uint64_t kept = 0;
  if (shift <= 0) {
    kept = significand << -shift;
  } else if (shift < 64) {  // beyond 63 the value is less than half of the smallest
    kept = significand >> shift;
    const std::uint64_t rest = significand & ((std::uint64_t{1} << shift) - 1), half = std::uint64_t{1} << (shift - 1);
    if (rest > half || (rest == half && (kept & 1) != 0)) ++kept;
  }
  // A normal number's leading bit adds one to its exponent field, and so does a carry out of the mantissa.
  const int field = last_place - to.min_exponent;
  if (field > 512) return to.overflow;
  const std::uint64_t code = (static_cast<std::uint64_t>(field) << to.mantissa_bits) + kept;
  return code > to.max_code ? to.overflow : static_cast<std::uint32_t>(code);
}

template <class T>
constexpr T with_bits(std::uint32_t bits) {
  return {static_cast<decltype(T::bits)>(bits)};
}

}  // namespace detail

template <class T>
constexpr T from_double(double x) {
  constexpr Anatomy to = kAnatomy<T>;
  const std::uint64_t bits = std::bit_cast<std::uint64_t>(x), mantissa = bits & 0xf'ffff'ffff'ffff;
  const std::uint32_t sign = (bits >> 63) != 0 ? to.sign : 0;
  const int field = static_cast<int>(bits >> 52 & 0x7ff);
  if (field == 0x7ff) {
    if (mantissa == 0) return detail::with_bits<T>(sign | to.overflow);
    const auto payload = static_cast<std::uint32_t>(mantissa >> (52 - to.mantissa_bits));
    return detail::with_bits<T>(to.nan | (to.keeps_nan ? sign | payload : 0));
  }
  const std::uint64_t leading = field == 0 ? 0 : std::uint64_t{1} << 52;
  return detail::with_bits<T>(sign | detail::round_to_code(to, mantissa | leading, (field == 0 ? 1 : field) - 1075));
}

template <class T>
constexpr T from_float(float x) {
  constexpr Anatomy to = kAnatomy<T>;
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x), mantissa = bits & 0x7f'ffff;
  const std::uint32_t sign = (bits >> 31) != 0 ? to.sign : 0;
  const int field = static_cast<int>(bits >> 23 & 0xff);
  if (field == 0xff) {
    if (mantissa == 0) return detail::with_bits<T>(sign | to.overflow);
    return detail::with_bits<T>(to.nan | (to.keeps_nan ? sign | mantissa >> (23 - to.mantissa_bits) : 0));
  }
  const std::uint32_t leading = field == 0 ? 0 : 0x80'0000;
  return detail::with_bits<T>(sign | detail::round_to_code(to, mantissa | leading, (field == 0 ? 1 : field) - 150));
}
// The same, short: bf16 is the upper half of a float, and adding rounds it (a carry reaches infinity by itself).
template <>
constexpr bf16 from_float<bf16>(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  if ((bits & 0x7fff'ffff) > 0x7f80'0000) return {static_cast<std::uint16_t>(bits >> 16 | 0x40)};
  return {static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}
template <>
constexpr float from_float<float>(float x) {
  return x;
}
template <>
constexpr float from_double<float>(double x) {
  return static_cast<float>(x);
}

constexpr float to_float(float x) { return x; }
constexpr float to_float(bf16 x) { return std::bit_cast<float>(std::uint32_t{x.bits} << 16); }

namespace detail {

template <class T>
constexpr float decode(T x) {
  constexpr Anatomy from = kAnatomy<T>;
  const std::uint32_t sign = (x.bits & from.sign) != 0 ? 0x8000'0000 : 0, code = x.bits & (from.sign - 1u);
  const std::uint32_t field = code >> from.mantissa_bits, mantissa = code & ((1u << from.mantissa_bits) - 1);
  // e4m3 has finite values in its last exponent and one NaN; the others are as IEEE.
  if (from.max_code >> from.mantissa_bits == field && code > from.max_code)
    return std::bit_cast<float>(sign | 0x7fc0'0000);
  if (field > from.max_code >> from.mantissa_bits)
    return std::bit_cast<float>(sign | 0x7f80'0000 | mantissa << (23 - from.mantissa_bits));
  if (field == 0) {  // mantissa * 2^min_exponent, exact
    const float smallest = std::bit_cast<float>(static_cast<std::uint32_t>(127 + from.min_exponent) << 23);
    const float value = static_cast<float>(mantissa) * smallest;
    return sign != 0 ? -value : value;
  }
  const std::uint32_t exponent = field + static_cast<std::uint32_t>(127 + from.min_exponent + from.mantissa_bits - 1);
  return std::bit_cast<float>(sign | exponent << 23 | mantissa << (23 - from.mantissa_bits));
}

}  // namespace detail

constexpr float to_float(fp16 x) { return detail::decode(x); }
constexpr float to_float(fp8_e4m3 x) { return detail::decode(x); }
constexpr float to_float(fp8_e5m2 x) { return detail::decode(x); }

// The distance from 1 to the next larger value; rounding to nearest errs by at most half of it, relatively.
template <class T>
constexpr double eps() {
  return 1.0 / static_cast<double>(1 << kAnatomy<T>.mantissa_bits);
}
template <>
constexpr double eps<float>() {
  return 0x1p-23;
}

template <class T>
constexpr float largest() {
  return to_float(detail::with_bits<T>(kAnatomy<T>.max_code));
}
template <>
constexpr float largest<float>() {
  return 0x1.fffffep127f;
}

// The smallest positive value, a subnormal.
template <class T>
constexpr float smallest() {
  return to_float(detail::with_bits<T>(1));
}
template <>
constexpr float smallest<float>() {
  return 0x1p-149f;
}

}  // namespace rl::num
