#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "num/convert.h"

namespace rl::num {
namespace {

// An independent reading of a format: its value from its fields by the definition, in double.
struct Definition {
  int exponent_bits, mantissa_bits;
  bool infinity;  // the last exponent holds infinity and NaNs; else (e4m3) only the last code is a NaN
};

template <class T>
constexpr Definition kDefinition{};
template <>
constexpr Definition kDefinition<bf16>{8, 7, true};
template <>
constexpr Definition kDefinition<fp16>{5, 10, true};
template <>
constexpr Definition kDefinition<fp8_e4m3>{4, 3, false};
template <>
constexpr Definition kDefinition<fp8_e5m2>{5, 2, true};

template <class T>
double defined_value(std::uint32_t code) {
  constexpr Definition d = kDefinition<T>;
  const int bits = 1 + d.exponent_bits + d.mantissa_bits, bias = (1 << (d.exponent_bits - 1)) - 1;
  const double sign = (code >> (bits - 1) & 1) != 0 ? -1 : 1;
  const int exponent = static_cast<int>(code >> d.mantissa_bits) & ((1 << d.exponent_bits) - 1);
  const int mantissa = static_cast<int>(code) & ((1 << d.mantissa_bits) - 1);
  const bool last = exponent == (1 << d.exponent_bits) - 1;
  if (d.infinity && last)
    return mantissa == 0 ? sign * std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  if (!d.infinity && last && mantissa == (1 << d.mantissa_bits) - 1) return std::numeric_limits<double>::quiet_NaN();
  const double fraction = std::ldexp(mantissa, -d.mantissa_bits);
  return sign * (exponent == 0 ? std::ldexp(fraction, 1 - bias) : std::ldexp(1 + fraction, exponent - bias));
}

template <class T>
struct Formats : testing::Test {
  static constexpr std::uint32_t kCodes = 1u << (8 * sizeof(T));
  static constexpr bool kSaturates = sizeof(T) == 1;
  static T code(std::uint32_t bits) { return {static_cast<decltype(T::bits)>(bits)}; }
  // Codes of the finite values, from 0 upwards.
  static std::vector<std::uint32_t> finite() {
    std::vector<std::uint32_t> codes;
    for (std::uint32_t c = 0; c < kCodes / 2; ++c)
      if (std::isfinite(defined_value<T>(c))) codes.push_back(c);
    return codes;
  }
};
using All = testing::Types<bf16, fp16, fp8_e4m3, fp8_e5m2>;
TYPED_TEST_SUITE(Formats, All);

TYPED_TEST(Formats, EveryCodeHasItsDefinedValue) {
  for (std::uint32_t c = 0; c < this->kCodes; ++c) {
    const double expected = defined_value<TypeParam>(c);
    const float got = to_float(this->code(c));
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(got)) << c;
    } else {
      EXPECT_EQ(got, expected) << c;
    }
    EXPECT_EQ(std::signbit(got), c >= this->kCodes / 2) << c;
  }
}

TYPED_TEST(Formats, EveryCodeComesBack) {
  for (std::uint32_t c = 0; c < this->kCodes; ++c) {
    const float value = to_float(this->code(c));
    const std::uint32_t back = from_float<TypeParam>(value).bits;
    EXPECT_EQ(back, from_double<TypeParam>(static_cast<double>(value)).bits) << c;
    if (std::isnan(value)) {  // a signalling NaN comes back quiet; fp8 knows one NaN
      const std::uint32_t quiet = 1u << (kDefinition<TypeParam>.mantissa_bits - 1);
      EXPECT_EQ(back, this->kSaturates ? 0x7fu : c | quiet) << c;
      continue;
    }
    if (this->kSaturates && std::isinf(value)) continue;  // saturates: below
    EXPECT_EQ(back, c);
  }
}

// The nearest of two neighbours by distances in long double; the even code of two equally near.
template <class T>
std::uint32_t nearest(std::uint32_t below, std::uint32_t above, double value, double above_value) {
  const long double x = value;
  const long double down = x - static_cast<long double>(defined_value<T>(below)), up = above_value - x;
  if (down != up) return down < up ? below : above;
  return below % 2 == 0 ? below : above;
}

TYPED_TEST(Formats, RoundsToTheNearestAroundEveryCodeAndMidpoint) {
  const std::vector<std::uint32_t> codes = this->finite();
  const std::uint32_t sign = this->kCodes / 2;
  std::int64_t checked = 0;
  for (std::size_t i = 0; i < codes.size(); ++i) {
    const double low = defined_value<TypeParam>(codes[i]);
    // Beyond the largest value the next step would lie one spacing further; IEEE formats overflow from its midpoint on.
    const bool last = i + 1 == codes.size();
    const double high =
        last ? low + (low - defined_value<TypeParam>(codes[i - 1])) : defined_value<TypeParam>(codes[i + 1]);
    const std::uint32_t above = last ? (this->kSaturates ? codes[i] : codes[i] + 1) : codes[i + 1];
    const double middle = low + (high - low) / 2, quarter = (high - low) / 4;
    for (const double centre : {low, middle, low + quarter, high - quarter}) {
      const double around[] = {centre, std::nextafter(centre, 0), std::nextafter(centre, HUGE_VAL)};
      for (const double x : around) {
        if (x < low || (last && x >= high)) continue;
        const std::uint32_t expected = nearest<TypeParam>(codes[i], above, x, high);
        ASSERT_EQ(from_double<TypeParam>(x).bits, expected) << x;
        ASSERT_EQ(from_double<TypeParam>(-x).bits, expected | sign) << -x;
        ++checked;
      }
      // A float beside the midpoint may itself be rounded: its own value counts.
      const float f = static_cast<float>(centre);
      for (const float x : {f, std::nextafter(f, 0.0f), std::nextafter(f, HUGE_VALF)}) {
        if (static_cast<double>(x) < low || static_cast<double>(x) >= high) continue;
        const std::uint32_t expected = nearest<TypeParam>(codes[i], above, static_cast<double>(x), high);
        ASSERT_EQ(from_float<TypeParam>(x).bits, expected) << x;
        ASSERT_EQ(from_float<TypeParam>(-x).bits, expected | sign) << -x;
        ++checked;
      }
    }
  }
  EXPECT_GT(checked, static_cast<std::int64_t>(codes.size()) * 12);
}

TYPED_TEST(Formats, DoublesAreNotRoundedTwice) {
  // Just above a midpoint by less than a float can tell: rounding through float would land on the even neighbour.
  const double one = 1, step = eps<TypeParam>();
  const double above_middle = std::nextafter(one + step / 2, 2.0);
  EXPECT_EQ(from_double<TypeParam>(above_middle).bits, from_double<TypeParam>(one + step).bits);
  EXPECT_EQ(from_float<TypeParam>(static_cast<float>(above_middle)).bits, from_double<TypeParam>(one).bits);
}

TYPED_TEST(Formats, OverflowsAndVanishesAsItsKindDoes) {
  const std::uint32_t top = this->finite().back(), sign = this->kCodes / 2;
  const std::uint32_t beyond = this->kSaturates ? top : top + 1;
  for (const float x : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::max()}) {
    EXPECT_EQ(from_float<TypeParam>(x).bits, beyond);
    EXPECT_EQ(from_float<TypeParam>(-x).bits, beyond | sign);
  }
  for (const double x : {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::max()}) {
    EXPECT_EQ(from_double<TypeParam>(x).bits, beyond);
    EXPECT_EQ(from_double<TypeParam>(-x).bits, beyond | sign);
  }
  for (const double x : {std::numeric_limits<double>::denorm_min(), 1e-300}) {
    EXPECT_EQ(from_double<TypeParam>(x).bits, 0u);
    EXPECT_EQ(from_double<TypeParam>(-x).bits, sign) << "a negative number that vanishes keeps its sign";
  }
  const float tiny = std::numeric_limits<float>::denorm_min();
  EXPECT_EQ(from_float<TypeParam>(tiny).bits, 0u);
  EXPECT_EQ(from_float<TypeParam>(-0.0f).bits, sign);
  EXPECT_TRUE(std::isnan(to_float(from_float<TypeParam>(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_TRUE(std::isnan(to_float(from_double<TypeParam>(std::numeric_limits<double>::quiet_NaN()))));
  EXPECT_TRUE(std::isnan(to_float(from_float<TypeParam>(std::bit_cast<float>(0x7f800001u)))))
      << "a payload in the lowest bit must not be cut off to an infinity";
}

TYPED_TEST(Formats, ConstantsAreThoseOfTheCodes) {
  EXPECT_EQ(largest<TypeParam>(), defined_value<TypeParam>(this->finite().back()));
  EXPECT_EQ(smallest<TypeParam>(), defined_value<TypeParam>(1));
  const std::uint32_t one = from_float<TypeParam>(1.0f).bits;
  EXPECT_EQ(eps<TypeParam>(), defined_value<TypeParam>(one + 1) - 1);
}

TEST(FormatConstants, AreThePublishedOnes) {
  EXPECT_EQ(largest<fp16>(), 65504);
  EXPECT_EQ(largest<fp8_e4m3>(), 448);
  EXPECT_EQ(largest<fp8_e5m2>(), 57344);
  EXPECT_EQ(largest<bf16>(), 0x1.fep127f);
  EXPECT_EQ(largest<float>(), std::numeric_limits<float>::max());
  EXPECT_EQ(eps<float>(), std::numeric_limits<float>::epsilon());
  static_assert(from_float<bf16>(1.0f).bits == 0x3f80 && to_float(fp16{0x3c00}) == 1.0f);
}

}  // namespace
}  // namespace rl::num
