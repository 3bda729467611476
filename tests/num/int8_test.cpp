#include "num/int8.h"

#include <cmath>

#include <gtest/gtest.h>

namespace rl::num {
namespace {

TEST(Int8, RoundsToNearestEvenAsRintDoes) {
  for (int i = -127 * 8; i <= 127 * 8; ++i) {
    const float x = static_cast<float>(i) / 8;
    EXPECT_EQ(quantize_int8(x, 1), static_cast<int>(std::rint(x))) << x;
  }
  EXPECT_EQ(quantize_int8(2.5f, 1), 2);
  EXPECT_EQ(quantize_int8(-3.5f, 1), -4);
}

TEST(Int8, TheLargestValueBecomes127) {
  for (const float absmax : {1.0f, 3.3f, 1e-20f, 1e30f, 0.1f}) {
    const float scale = int8_scale(magnitude_bits(-absmax));
    EXPECT_EQ(scale, absmax / 127.0f);
    EXPECT_EQ(quantize_int8(absmax, scale), 127) << absmax;
    EXPECT_EQ(quantize_int8(-absmax, scale), -127) << absmax;
  }
}

TEST(Int8, DividesRatherThanMultiplyByTheReciprocal) {
  // Some value's code differs between the two; if none did, the rule would be idle.
  int differ = 0;
  for (int i = 1; i < 20'000; ++i) {
    const float absmax = 1.0f + static_cast<float>(i) * 1e-4f, scale = int8_scale(magnitude_bits(absmax));
    for (int k = 1; k < 127; k += 2) {
      const float x = (static_cast<float>(k) / 2) * scale;
      differ += std::rint(x / scale) != std::rint(x * (1 / scale));
      ASSERT_EQ(quantize_int8(x, scale), static_cast<int>(std::rint(x / scale)));
    }
  }
  EXPECT_GT(differ, 0);
}

TEST(Int8, ZerosSubnormalsAndValuesThatAreNotFinite) {
  EXPECT_EQ(int8_scale(magnitude_bits(0)), 0);
  EXPECT_EQ(quantize_int8(0, 0), 0);
  const float tiny = std::numeric_limits<float>::denorm_min();
  EXPECT_EQ(quantize_int8(tiny, int8_scale(magnitude_bits(tiny))), 0) << "the scale vanishes";
  // The scale is one subnormal step, the ratio 150. volatile: g++ saturates conversions that it folds, processors do
  // not.
  volatile float far = 150 * tiny;
  const float small = far;
  EXPECT_EQ(quantize_int8(small, int8_scale(magnitude_bits(small))), 127);
  EXPECT_EQ(quantize_int8(-small, int8_scale(magnitude_bits(small))), -127);
  EXPECT_TRUE(std::isnan(int8_scale(magnitude_bits(HUGE_VALF))));
  EXPECT_TRUE(std::isnan(int8_scale(magnitude_bits(-NAN))));
  EXPECT_EQ(quantize_int8(5, NAN), 0);
  EXPECT_GT(magnitude_bits(NAN), magnitude_bits(HUGE_VALF)) << "an integer maximum finds them";
}

TEST(Int8, ProductsOfTheLongestRowFit) {
  EXPECT_LE(std::int64_t{127} * 127 * kInt8MaxCols, 0x7fffffff);
  EXPECT_GT(std::int64_t{127} * 127 * (kInt8MaxCols + 1), 0x7fffffff);
  EXPECT_EQ(int8_product(3, 0.5f, 0.25f), 0.375f);
}

}  // namespace
}  // namespace rl::num
