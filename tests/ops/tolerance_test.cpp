// Tolerances must let a sound computation in float pass and catch small faults.

#include "ops/tolerance.h"

#include "check/result.h"
#include "cpu/ref/ref.h"
#include "ops/case_inputs.h"
#include "tensor/element.h"

namespace rl::ops {
namespace {

// The largest and the mean of |error| / tolerance over the elements of a float computation of a product.
struct Use {
  double largest = 0, mean_tolerance = 0;
};

TEST(Tolerance, LinearLetsFloatSumsPassWithoutBeingWide) {
  for (const std::int64_t cols : {64, 1024, 8192}) {
    const LinearCase c{"", 0, 4, 32, cols};
    ASSERT_VALUE(const auto inputs,
                 make_inputs(c, {DType::f32, quant::Format::f32, DType::f32}, quant::Layout::row_major));
    const LinearArgs& args = inputs.args;
    const Values ref = cpu::ref::linear(args);
    const std::vector<double> allowed = tolerance(args, ref);
    Use use;
    double size = 0;
    for (std::int64_t t = 0; t < 4; ++t)
      for (std::int64_t r = 0; r < 32; ++r) {
        float sum = 0;  // the worst order: one chain
        for (std::int64_t i = 0; i < cols; ++i)
          sum += args.x.as<float>()[t * cols + i] * static_cast<float*>(args.weight.data)[r * cols + i];
        const auto at = static_cast<std::size_t>(t * 32 + r);
        use.largest = std::max(use.largest, std::abs(static_cast<double>(sum) - ref.value[at]) / allowed[at]);
        use.mean_tolerance += allowed[at] / 128;
        size += std::abs(ref.value[at]) / 128;
      }
    EXPECT_LT(use.largest, 0.5) << cols;
    EXPECT_LT(use.mean_tolerance, 0.003 * size) << "a fault of 1% in one output must show; cols " << cols;
  }
}

TEST(Tolerance, LinearInBf16SeesOneMissingTerm) {
  const LinearCase c{"", 0, 2, 64, 256};
  ASSERT_VALUE(const auto inputs,
               make_inputs(c, {DType::bf16, quant::Format::bf16, DType::f32}, quant::Layout::row_major));
  LinearArgs args = inputs.args;
  const Values ref = cpu::ref::linear(args);
  const std::vector<double> allowed = tolerance(args, ref);
  args.x.shape[1] = args.weight.cols = 255;
  args.weight.padded_cols = 256;
  const Values shorter = cpu::ref::linear(args);
  int seen = 0;
  for (std::size_t i = 0; i < ref.value.size(); ++i) seen += std::abs(shorter.value[i] - ref.value[i]) > allowed[i];
  EXPECT_GT(seen, 120) << "of 128";
}

TEST(Tolerance, AttentionSeesAMaskOffByOne) {
  for (const DType type : {DType::f32, DType::bf16}) {
    const AttentionCase c{"", 0, 4, 2, 64, {{30, 200}, {1, 150}}, true, 60};
    ASSERT_VALUE(const auto inputs, make_inputs(c, type));
    AttentionArgs args = inputs.args;
    const Values ref = cpu::ref::attention(args);
    const std::vector<double> allowed = tolerance(args, ref);
    for (const std::int64_t window : {59, 61}) {
      args.window = window;
      const Values off = cpu::ref::attention(args);
      int seen = 0;
      for (std::size_t i = 0; i < ref.value.size(); ++i) seen += std::abs(off.value[i] - ref.value[i]) > allowed[i];
      EXPECT_GT(seen, static_cast<int>(ref.value.size()) / (type == DType::f32 ? 2 : 4))
          << name_of(type) << " window " << window;
    }
  }
}

TEST(Tolerance, AttentionLetsBf16WeightsPass) {
  // What a 16-bit kernel does: scores and sums in float, p rounded to bf16, the result rounded to bf16.
  const AttentionCase c{"", 0, 2, 1, 64, {{8, 300}}};
  ASSERT_VALUE(const auto inputs, make_inputs(c, DType::bf16));
  const AttentionArgs& args = inputs.args;
  const Values ref = cpu::ref::attention(args);
  const std::vector<double> allowed = tolerance(args, ref);
  const auto element = [&](const TensorRef& pages, std::int64_t t, std::int64_t i) {
    const std::int64_t page = args.index.page_table.as<std::int32_t>()[t / 64];
    return num::to_float(pages.as<num::bf16>()[(page * 64 + t % 64) * 64 + i]);
  };
  double largest = 0;
  for (std::int64_t token = 0; token < 8; ++token)
    for (std::int64_t h = 0; h < 2; ++h) {
      float sum = 0, out[64] = {};
      for (std::int64_t t = 0; t <= 292 + token; ++t) {
        float score = 0;
        for (std::int64_t i = 0; i < 64; ++i)
          score += num::to_float(args.q.as<num::bf16>()[(token * 2 + h) * 64 + i]) * element(args.kv.k, t, i);
        const float p = std::exp(score * args.scale - 3);
        sum += p;
        const float rounded = num::to_float(num::from_float<num::bf16>(p));
        for (std::int64_t i = 0; i < 64; ++i) out[i] += rounded * element(args.kv.v, t, i);
      }
      for (std::int64_t i = 0; i < 64; ++i) {
        const auto at = static_cast<std::size_t>((token * 2 + h) * 64 + i);
        const double got = static_cast<double>(num::to_float(num::from_float<num::bf16>(out[i] / sum)));
        largest = std::max(largest, std::abs(got - ref.value[at]) / allowed[at]);
      }
    }
  EXPECT_LT(largest, 1);
  EXPECT_GT(largest, 0.1) << "no wider than it must be";
}

TEST(Tolerance, CopiesMustBeExact) {
  ASSERT_VALUE(const auto inputs, make_inputs(EmbedCase{"", 0, 3, 9, 8}, quant::Format::bf16, quant::Layout::panel64));
  const std::vector<double> allowed = tolerance(inputs.args, cpu::ref::embed(inputs.args));
  EXPECT_EQ(*std::max_element(allowed.begin(), allowed.end()), 0);
}

}  // namespace
}  // namespace rl::ops
