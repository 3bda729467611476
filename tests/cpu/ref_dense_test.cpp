// The oracle against values computed by hand and formulas written otherwise.

#include <complex>

#include "check/result.h"
#include "cpu/ref/ref.h"
#include "ops/case_inputs.h"
#include "quant/pack.h"
#include "tensor/element.h"

namespace rl::cpu::ref {
namespace {

using testing::DoubleEq;
using testing::ElementsAre;

quant::PackedWeight row_major(float* data, std::int64_t rows, std::int64_t cols) {
  return {.rows = rows, .cols = cols, .padded_rows = rows, .padded_cols = cols, .data = data};
}

TEST(RefEmbed, CopiesRows) {
  float table[] = {1, 2, 3, 4, 5, 6};
  std::int32_t ids[] = {2, 0, 2};
  const ops::EmbedArgs args{.ids = tensor(ids, {3}), .table = row_major(table, 3, 2)};
  EXPECT_THAT(embed(args).value, ElementsAre(5, 6, 1, 2, 5, 6));
}

TEST(RefLinear, IsTheProductByHand) {
  float x[] = {1, 2, 3, -1, 0.5f, 2}, w[] = {1, 0, -1, 2, 4, 6}, bias[] = {10, 20}, out[] = {100, 200, 300, 400};
  ops::LinearArgs args{.x = tensor(x, {2, 3}), .weight = row_major(w, 2, 3), .out = tensor(out, {2, 2})};
  Values values = linear(args);
  EXPECT_THAT(values.value, ElementsAre(-2, 28, -3, 12));
  EXPECT_THAT(values.abs_terms, ElementsAre(4, 28, 3, 16));
  args.bias = tensor(bias, {2});
  args.accumulate = true;
  values = linear(args);
  EXPECT_THAT(values.value, ElementsAre(108, 248, 307, 432));
  EXPECT_THAT(values.abs_terms, ElementsAre(114, 248, 313, 436));
  EXPECT_THAT(linear(args, {.rows = {1}, .cols = {1}}).value, ElementsAre(432));
  EXPECT_THAT(linear(args, {.rows = {1, 0}, .cols = {0}}).value, ElementsAre(307, 108)) << "in the order asked for";
}

TEST(RefLinear, BothLayoutsHoldTheSameWeights) {
  for (const ops::LinearTypes& types : ops::kLinearTypes) {
    const ops::LinearCase c{"", 0, 3, 131, 70};
    ASSERT_VALUE(const auto plain, ops::make_inputs(c, types, quant::Layout::row_major));
    ASSERT_VALUE(const auto panels, ops::make_inputs(c, types, quant::Layout::panel64));
    EXPECT_EQ(linear(plain.args).value, linear(panels.args).value) << name_of(types.format);
  }
}

TEST(RefLinear, ReadsPanelsAsTheLayoutIsDefined) {
  // [rows/64][cols/k][64][k]: of bf16 element (65, 3) lies in panel 1, group 1, row 1, second of its pair.
  std::vector<num::bf16> data(128 * 32);
  data[static_cast<std::size_t>(((1 * 16 + 1) * 64 + 1) * 2 + 1)] = num::from_float<num::bf16>(2.0f);
  float x[32] = {};
  x[3] = 5;
  const quant::PackedWeight w{.format = quant::Format::bf16,
                              .layout = quant::Layout::panel64,
                              .rows = 70,
                              .cols = 32,
                              .padded_rows = 128,
                              .padded_cols = 32,
                              .data = data.data()};
  const Values values = linear({.x = tensor(x, {1, 32}), .weight = w});
  for (std::size_t r = 0; r < 70; ++r) EXPECT_EQ(values.value[r], r == 65 ? 10 : 0) << r;
}

TEST(RefLinear, Int8RoundsAsWritten) {
  // absmax 2.54: scale 0.02; q = 127, -50, 0.5 -> 0 (to even), 1.5 -> 2. Powers of two keep the rest exact.
  float x[] = {127, -50, 0.5f, 1.5f}, scales[] = {0.5f, 2}, bias[] = {0.25f, 0};
  std::int8_t w[] = {1, 2, 100, 3, -127, 127, 5, -1};
  const quant::PackedWeight weight{.format = quant::Format::int8,
                                   .rows = 2,
                                   .cols = 4,
                                   .padded_rows = 2,
                                   .padded_cols = 4,
                                   .data = w,
                                   .scales = scales};
  const Values values = linear({.x = tensor(x, {1, 4}), .weight = weight, .bias = tensor(bias, {2})});
  const double first = 127 - 100 + 0 + 6, second = -127 * 127 - 50 * 127 + 0 - 2;
  EXPECT_THAT(values.value, ElementsAre(first * 0.5 + 0.25, second * 2));

  // In general: the float steps of num/int8.h, one rounding each.
  ASSERT_VALUE(const auto inputs, ops::make_inputs(ops::LinearCase{"", 0, 4, 9, 100, true, true},
                                                   ops::LinearTypes{DType::bf16, quant::Format::int8, DType::f32},
                                                   quant::Layout::row_major));
  const ops::LinearArgs& args = inputs.args;
  const std::vector<double> got = linear(args).value;
  for (std::int64_t t = 0; t < 4; ++t) {
    float absmax = 0;
    for (std::int64_t i = 0; i < 100; ++i)
      absmax = std::max(absmax, std::abs(num::to_float(args.x.as<num::bf16>()[t * 100 + i])));
    const float scale = absmax / 127;
    for (std::int64_t r = 0; r < 9; ++r) {
      int acc = 0;
      for (std::int64_t i = 0; i < 100; ++i) {
        const int q = static_cast<int>(std::rint(num::to_float(args.x.as<num::bf16>()[t * 100 + i]) / scale));
        acc += q * static_cast<const std::int8_t*>(args.weight.data)[r * args.weight.padded_cols + i];
      }
      float expected = static_cast<float>(acc) * scale;
      expected *= args.weight.scales[r];
      expected += args.bias.as<float>()[r];
      expected += args.out.as<float>()[t * 9 + r];
      EXPECT_EQ(got[static_cast<std::size_t>(t * 9 + r)], static_cast<double>(expected));
    }
  }
}

TEST(RefLinear, Int8TurnsATokenThatIsNotFiniteIntoNaN) {
  float x[] = {1, HUGE_VALF, 2, 3}, scales[] = {1};
  std::int8_t w[] = {1, 1};
  const quant::PackedWeight weight{.format = quant::Format::int8,
                                   .rows = 1,
                                   .cols = 2,
                                   .padded_rows = 1,
                                   .padded_cols = 2,
                                   .data = w,
                                   .scales = scales};
  const Values values = linear({.x = tensor(x, {2, 2}), .weight = weight});
  EXPECT_TRUE(std::isnan(values.value[0]));
  EXPECT_TRUE(std::isfinite(values.value[1]));
}

TEST(RefRmsNorm, IsTheFormulaByHand) {
  float x[] = {3, 4, 0, 0, 1, 1}, weight[] = {1, 2}, out[6];
  std::int32_t rows[] = {2, 0};
  ops::RmsNormArgs args{.x = tensor(x, {3, 2}), .weight = tensor(weight, {2}), .eps = 0.5f, .out = tensor(out, {3, 2})};
  // Row 0: mean of squares 12.5, + 0.5 = 13.
  const double root = std::sqrt(13.0), unit = std::sqrt(1.5);
  EXPECT_THAT(rms_norm(args).value,
              ElementsAre(DoubleEq(3 / root), DoubleEq(8 / root), 0, 0, DoubleEq(1 / unit), DoubleEq(2 / unit)));
  args.rows = tensor(rows, {2});
  args.out = tensor(out, {2, 2});
  EXPECT_THAT(rms_norm(args).value,
              ElementsAre(DoubleEq(1 / unit), DoubleEq(2 / unit), DoubleEq(3 / root), DoubleEq(8 / root)));
}

TEST(RefSiluMul, IsTheFormulaByHand) {
  float gate_up[] = {0, 1, -2, 7, 3, 4}, out[3];
  const ops::SiluMulArgs args{.gate_up = tensor(gate_up, {1, 6}), .out = tensor(out, {1, 3})};
  // silu(x) = x (1 + tanh(x / 2)) / 2
  EXPECT_THAT(silu_mul(args).value, ElementsAre(0, testing::DoubleNear(3 * (1 + std::tanh(0.5)) / 2, 1e-15),
                                                testing::DoubleNear(4 * -(1 + std::tanh(-1.0)), 1e-15)));
}

TEST(RefRopeAppend, TurnsPairsAsComplexNumbers) {
  const ops::RopeAppendCase c{"", 0, 4, 2, 24, {{5, 9}, {2, 70}}};
  ASSERT_VALUE(const auto inputs, ops::make_inputs(c, DType::f32));
  const ops::RopeAppendArgs& args = inputs.args;
  const RopeAppended got = rope_append(args);
  const std::int64_t half = 12;
  for (std::int64_t t = 0; t < 7; ++t) {
    const double position = args.positions.as<std::int32_t>()[t];
    const float* qkv = args.qkv.as<float>() + t * 8 * 24;
    for (std::int64_t h = 0; h < 6; ++h)
      for (std::int64_t i = 0; i < half; ++i) {
        const std::complex<double> pair(static_cast<double>(qkv[h * 24 + i]),
                                        static_cast<double>(qkv[h * 24 + half + i]));
        const double angle = position * std::pow(10000.0, -static_cast<double>(2 * i) / 24);
        const std::complex<double> turned = pair * std::polar(1.0, angle);
        const auto& values = h < 4 ? got.q.value : got.k.value;
        const auto at = static_cast<std::size_t>(h < 4 ? (t * 4 + h) * 24 + i : (t * 2 + h - 4) * 24 + i);
        // The tables are floats: 2^-24 relative to a modulus of up to 5.
        EXPECT_NEAR(values[at], turned.real(), 5e-7);
        EXPECT_NEAR(values[at + half], turned.imag(), 5e-7);
      }
    for (std::int64_t i = 0; i < 48; ++i)
      EXPECT_EQ(got.v.value[static_cast<std::size_t>(t * 48 + i)], static_cast<double>(qkv[6 * 24 + i]));
  }
}

TEST(RefRopeAppend, NormsEachHeadFirst) {
  const ops::RopeAppendCase c{"", 0, 2, 1, 16, {{1, 1}}, true};  // position 0: no rotation
  ASSERT_VALUE(const auto inputs, ops::make_inputs(c, DType::f32));
  const ops::RopeAppendArgs& args = inputs.args;
  const RopeAppended got = rope_append(args);
  for (std::int64_t h = 0; h < 3; ++h) {
    float out[16];
    const ops::RmsNormArgs norm{.x = tensor(args.qkv.as<float>() + h * 16, {1, 16}),
                                .weight = h < 2 ? args.q_norm : args.k_norm,
                                .eps = args.eps,
                                .out = tensor(out, {1, 16})};
    const std::vector<double> expected = rms_norm(norm).value;
    const auto& values = h < 2 ? got.q.value : got.k.value;
    for (std::size_t i = 0; i < 16; ++i)
      EXPECT_DOUBLE_EQ(values[static_cast<std::size_t>(h < 2 ? h : 0) * 16 + i], expected[i]);
  }
}

}  // namespace
}  // namespace rl::cpu::ref
