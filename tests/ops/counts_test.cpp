// flops() and bytes() against loops that do the work and count it.

#include <set>

#include "check/result.h"
#include "ops/case_inputs.h"

namespace rl::ops {
namespace {

TEST(Counts, Linear) {
  const LinearCase c{"", 0, 3, 5, 7, true, true};
  ASSERT_VALUE(const auto inputs,
               make_inputs(c, {DType::bf16, quant::Format::bf16, DType::f32}, quant::Layout::panel64));
  double operations = 0;
  for (int t = 0; t < 3; ++t)
    for (int r = 0; r < 5; ++r) {
      for (int i = 0; i < 7; ++i) operations += 2;
      operations += 2;  // bias, old output
    }
  EXPECT_EQ(flops(inputs.args), operations);
  EXPECT_EQ(bytes(inputs.args), 3 * 7 * 2 + 5 * 7 * 2 + 5 * 4 + 2 * 3 * 5 * 4) << "padding does not count";
}

TEST(Counts, LinearInt8ReadsItsScales) {
  const LinearCase c{"", 0, 1, 64, 32};
  ASSERT_VALUE(const auto inputs,
               make_inputs(c, {DType::f32, quant::Format::int8, DType::f32}, quant::Layout::row_major));
  EXPECT_EQ(bytes(inputs.args), 32 * 4 + 64 * (32 + 4) + 64 * 4);
}

TEST(Counts, Attention) {
  for (const AttentionCase& c : {AttentionCase{"", 0, 4, 2, 16, {{3, 70}, {1, 5}, {0, 9}, {4, 4}}},
                                 AttentionCase{"", 0, 4, 2, 16, {{3, 70}, {1, 5}, {4, 4}}, false},
                                 AttentionCase{"", 0, 4, 2, 16, {{3, 170}, {1, 5}, {4, 4}}, true, 3, 2},
                                 AttentionCase{"", 0, 2, 1, 24, {{65, 65}}, true, 64, 0, false, 16}}) {
    ASSERT_VALUE(const auto inputs, make_inputs(c, DType::bf16));
    double operations = 0, moved = 0;
    for (std::int64_t s = 0; s < c.seqs.size(); ++s) {
      std::set<std::int64_t> keys, pages;
      for (std::int64_t i = 0; i < c.seqs[s].q; ++i) {
        const std::int64_t position = c.seqs[s].kv - c.seqs[s].q + i;
        for (std::int64_t t = 0; t < c.seqs[s].kv; ++t) {
          if (c.causal && t > position) continue;
          if (c.window > 0 && position - t >= c.window) continue;
          keys.insert(t);
          pages.insert(t / c.page_tokens);
          operations += static_cast<double>(c.heads * c.head_dim * 4);
        }
        moved += static_cast<double>(2 * c.heads * c.head_dim * 2);  // q, out
      }
      moved += static_cast<double>(keys.size()) * static_cast<double>(2 * c.kv_heads * c.head_dim * 2);
      moved += static_cast<double>(pages.size()) * 4;
      moved += 4;  // kv_len
    }
    moved += static_cast<double>(c.seqs.size() + 1) * 4;  // cu_q
    EXPECT_EQ(flops(inputs.args), operations);
    EXPECT_EQ(bytes(inputs.args), moved);
  }
}

TEST(Counts, EmbedReadsEachRowOnceAtMost) {
  ASSERT_VALUE(const auto few, make_inputs(EmbedCase{"", 0, 3, 100, 8}, quant::Format::f16, quant::Layout::row_major));
  EXPECT_EQ(bytes(few.args), 3 * 4 + 3 * 8 * 2 + 3 * 8 * 4);
  EXPECT_EQ(flops(few.args), 0);
  ASSERT_VALUE(const auto many,
               make_inputs(EmbedCase{"", 0, 30, 10, 8}, quant::Format::int8, quant::Layout::row_major));
  EXPECT_EQ(bytes(many.args), 30 * 4 + 10 * (8 + 4) + 30 * 8 * 4);
  EXPECT_EQ(flops(many.args), 30 * 8);
}

TEST(Counts, RmsNorm) {
  ASSERT_VALUE(const auto all, make_inputs(RmsNormCase{"", 0, 3, 8}, DType::bf16));
  EXPECT_EQ(flops(all.args), 3 * 8 * 4);
  EXPECT_EQ(bytes(all.args), 3 * 8 * 4 + 8 * 4 + 3 * 8 * 2);
  ASSERT_VALUE(const auto picked, make_inputs(RmsNormCase{"", 0, 30, 8, 2}, DType::f32));
  EXPECT_EQ(bytes(picked.args), 2 * 8 * 4 + 8 * 4 + 2 * 4 + 2 * 8 * 4);
}

TEST(Counts, CodesAreAByteEachAndTheirScales) {
  ASSERT_VALUE(const auto norm,
               make_inputs(RmsNormCase{"", 0, 3, 200}, CodedType{DType::bf16, quant::Format::fp8_block}));
  EXPECT_EQ(bytes(norm.args), 3 * 200 * 4 + 200 * 4 + 3 * 200 + 3 * 2 * 4);
  ASSERT_VALUE(const auto silu, make_inputs(SiluMulCase{"", 0, 2, 6}, CodedType{DType::bf16, quant::Format::int8}));
  EXPECT_EQ(bytes(silu.args), 2 * 12 * 2 + 2 * 6 + 2 * 4);
  ASSERT_VALUE(
      const auto product,
      make_inputs(LinearCase{"", 0, 3, 5, 7}, {DType::i8, quant::Format::int8, DType::bf16}, quant::Layout::row_major));
  EXPECT_EQ(bytes(product.args), 3 * 7 + 3 * 4 + 5 * (7 + 4) + 3 * 5 * 2);
}

TEST(Counts, RopeAppend) {
  ASSERT_VALUE(const auto inputs, make_inputs(RopeAppendCase{"", 0, 4, 2, 8, {{3, 10}, {2, 4}}, true}, DType::bf16));
  double operations = 0;
  for (int t = 0; t < 5; ++t)
    for (int h = 0; h < 6; ++h) {
      for (int pair = 0; pair < 4; ++pair) operations += 4 + 2;
      for (int i = 0; i < 8; ++i) operations += 4;  // the norm
    }
  EXPECT_EQ(flops(inputs.args), operations);
  const double qkv = 5 * (4 + 2 + 2) * 8 * 2;
  EXPECT_EQ(bytes(inputs.args), 2 * qkv + 5 * 2 * 4 * 4 + 5 * 3 * 4 + 2 * 8 * 4);
}

TEST(Counts, SiluMulAndSample) {
  ASSERT_VALUE(const auto silu, make_inputs(SiluMulCase{"", 0, 2, 6}, DType::bf16));
  EXPECT_EQ(flops(silu.args), 2 * 6 * 5);
  EXPECT_EQ(bytes(silu.args), 2 * 12 * 2 + 2 * 6 * 2);
  ASSERT_VALUE(const auto drawn, make_inputs(SampleCase{"", 0, 2, 50, LogitKind::normal, 1, 0, 1, 0, 1, 3}));
  EXPECT_EQ(flops(drawn.args), 2 * 50 * 3);
  EXPECT_EQ(bytes(drawn.args), 2 * 50 * 4 + 2.0 * sizeof(SampleRow) + 2 * 3 * 4 + 2 * 4);
}

}  // namespace
}  // namespace rl::ops
