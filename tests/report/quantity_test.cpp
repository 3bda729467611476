#include "report/quantity.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rl::report {
namespace {

using testing::ElementsAre;

TEST(FormatValue, HasThreeDigitsAndASuitingUnit) {
  EXPECT_EQ(format_value(0.0123, "s"), "12.3 ms");
  EXPECT_EQ(format_value(999.7e-6, "s"), "1.00 ms");
  EXPECT_EQ(format_value(4 << 20, "B"), "4.00 MiB");
  EXPECT_EQ(format_value(12, "B"), "12 B");
  EXPECT_EQ(format_value(12.42e9, "B/s"), "12.4 GB/s");
  EXPECT_EQ(format_value(412e9, "FLOP/s"), "412 GFLOP/s");
  EXPECT_EQ(format_value(913.4, "tok/s"), "913 tok/s");
  EXPECT_EQ(format_value(5120, "tok/s"), "5120 tok/s");
  EXPECT_EQ(format_value(109890, "tok/s"), "110 ktok/s");
  EXPECT_EQ(format_value(2.313, "1"), "2.31");
  EXPECT_EQ(format_value(1e-9, "1"), "1e-09");
  EXPECT_EQ(format_value(0, "s"), "0 s");
  EXPECT_EQ(format_value(-0.5, "s"), "-500 ms");
  EXPECT_EQ(format_value(3.5, "furlong"), "3.50 furlong");
}

TEST(FormatValue, SaysWhatIsNotANumber) {
  EXPECT_EQ(format_value(NAN, "s"), "not a number");
  EXPECT_EQ(format_value(INFINITY, "B"), "infinite");
  EXPECT_EQ(format_value(-INFINITY, "1"), "-infinite");
}

TEST(FormatInterval, UsesTheValuesScaleAndTellsTheBoundsApart) {
  EXPECT_EQ(format_interval({0.0121, 0.0125}, 0.0123, "s"), "[12.1, 12.5]");
  EXPECT_EQ(format_interval({0.99e-3, 1.01e-3}, 1e-3, "s"), "[0.990, 1.01]");
  EXPECT_EQ(format_interval({2.3101, 2.3104}, 2.31, "1"), "[2.3101, 2.3104]");
  EXPECT_EQ(format_interval({2, 2}, 2, "1"), "[2.00, 2.00]");
}

TEST(FormatExpected, NamesAMissingBound) {
  EXPECT_EQ(format_expected({2, 4}, "1"), "2.00 to 4.00");
  EXPECT_EQ(format_expected({2, INFINITY}, "1"), "at least 2.00");
  EXPECT_EQ(format_expected({-INFINITY, 4}, "1"), "at most 4.00");
  EXPECT_EQ(format_expected({-INFINITY, INFINITY}, "1"), "no bound");
}

TEST(FormatMetric, ShowsTheInterval) {
  EXPECT_EQ(format_metric({.unit = "s", .value = 0.01, .ci95 = record::Interval{0.0098, 0.0103}}),
            "10.0 ms [9.80, 10.3]");
  EXPECT_EQ(format_metric({.unit = "B", .value = 2048}), "2.00 KiB");
}

TEST(FormatSpread, IsHalfTheIntervalOverTheValue) {
  EXPECT_EQ(format_spread({.value = 100, .ci95 = record::Interval{99, 101}}), "±1.0%");
  EXPECT_EQ(format_spread({.value = 100, .ci95 = record::Interval{99.99, 100.01}}), "±<0.1%");
  EXPECT_EQ(format_spread({.value = 100}), "");
}

TEST(FormatDuration, ReadsAsPeopleSayIt) {
  EXPECT_EQ(format_duration(48.2), "48.2 s");
  EXPECT_EQ(format_duration(134), "2 min 14 s");
  EXPECT_EQ(format_duration(3720), "1 h 02 min");
  EXPECT_EQ(format_duration(NAN), "unknown");
}

TEST(FormatCount, RoundsToThreeDigits) {
  EXPECT_EQ(format_count(8'030'261'248), "8.03 billion");
  EXPECT_EQ(format_count(3'213'568), "3.21 million");
  EXPECT_EQ(format_count(512), "512");
}

TEST(FormatTimestamp, ShortensIsoAndKeepsTheRest) {
  EXPECT_EQ(format_timestamp("2026-11-23T14:05:09Z"), "2026-11-23 14:05 UTC");
  EXPECT_EQ(format_timestamp("yesterday"), "yesterday");
}

TEST(Words, OfMetricsAreSpacedAndAxesKeepTheirNames) {
  EXPECT_EQ(words("prefill_throughput"), "prefill throughput");
  EXPECT_EQ(axis_title("seq"), "seq (tokens)");
  EXPECT_EQ(axis_title("head_dim"), "head_dim (elements)");
  EXPECT_EQ(axis_title("variant"), "variant");
}

TEST(Ticks, AreRoundAndInside) {
  EXPECT_THAT(nice_ticks(0, 1.17, 5),
              ElementsAre(0, testing::DoubleEq(0.2), testing::DoubleEq(0.4), testing::DoubleNear(0.6, 1e-12),
                          testing::DoubleEq(0.8), testing::DoubleEq(1.0)));
  EXPECT_THAT(log_ticks(0.04, 110), ElementsAre(testing::DoubleNear(0.1, 1e-12), 1, 10, 100));
  EXPECT_THAT(log_ticks(1, 20), ElementsAre(1, 2, 5, 10, 20));
  EXPECT_TRUE(log_ticks(0, 10).empty());
  EXPECT_THAT(nice_ticks(3, 3, 5), ElementsAre(3));
  EXPECT_EQ(format_tick(0.1 + 0.2), "0.3");
  EXPECT_EQ(format_tick(4096), "4096");
  EXPECT_EQ(format_tick(2e9), "2e+09");
}

}  // namespace
}  // namespace rl::report
