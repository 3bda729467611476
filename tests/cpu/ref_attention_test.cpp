// The oracle's attention against one written the other way round: dense matrices per sequence, a mask as a predicate on
// positions, softmax by its definition.

#include "check/result.h"
#include "cpu/ref/ref.h"
#include "ops/case_inputs.h"
#include "tensor/element.h"

namespace rl::cpu::ref {
namespace {

struct Dense {
  std::vector<double> k, v;  // [kv, head_dim] of one sequence and kv head
};

Dense gather(const ops::AttentionArgs& args, std::int64_t sequence, std::int64_t kv_head) {
  Dense dense;
  const std::int64_t kv = args.index.kv_len.as<std::int32_t>()[sequence], page_tokens = args.kv.k.shape[2];
  for (std::int64_t t = 0; t < kv; ++t) {
    const std::int64_t page =
        args.index.page_table.as<std::int32_t>()[sequence * args.index.page_table.shape[1] + t / page_tokens];
    for (std::int64_t i = 0; i < args.q.shape[2]; ++i) {
      const TensorRef& k = args.kv.k;
      const std::int64_t at =
          page * k.strides[0] + kv_head * k.strides[1] + t % page_tokens * k.strides[2] + i * k.strides[3];
      dense.k.push_back(load_element(k.dtype, k.data, at));
      dense.v.push_back(load_element(k.dtype, args.kv.v.data, at));
    }
  }
  return dense;
}

// One token's output of one query head.
std::vector<double> by_definition(const ops::AttentionArgs& args, std::int64_t token, std::int64_t sequence,
                                  std::int64_t position, std::int64_t head) {
  const std::int64_t head_dim = args.q.shape[2], heads = args.q.shape[1], kv_heads = args.kv.k.shape[1];
  const Dense dense = gather(args, sequence, head / (heads / kv_heads));
  const std::int64_t kv = args.index.kv_len.as<std::int32_t>()[sequence];
  long double sum = 0;
  std::vector<long double> out(static_cast<std::size_t>(head_dim));
  for (std::int64_t t = 0; t < kv; ++t) {
    const bool seen = (!args.causal || t <= position) && (args.window == 0 || position - t < args.window);
    if (!seen) continue;
    long double score = 0;
    for (std::int64_t i = 0; i < head_dim; ++i)
      score += static_cast<long double>(
                   load_element(args.q.dtype, args.q.data, token * args.q.strides[0] + head * head_dim + i)) *
               static_cast<long double>(dense.k[static_cast<std::size_t>(t * head_dim + i)]);
    const long double weight = std::exp(score * static_cast<long double>(args.scale));
    sum += weight;
    for (std::int64_t i = 0; i < head_dim; ++i)
      out[static_cast<std::size_t>(i)] +=
          weight * static_cast<long double>(dense.v[static_cast<std::size_t>(t * head_dim + i)]);
  }
  std::vector<double> result;
  for (const long double o : out) result.push_back(static_cast<double>(o / sum));
  return result;
}

class RefAttention : public testing::TestWithParam<ops::AttentionCase> {};

TEST_P(RefAttention, AgreesWithTheDefinition) {
  const ops::AttentionCase& c = GetParam();
  ASSERT_VALUE(const auto inputs, ops::make_inputs(c, DType::bf16));
  const std::vector<double> got = attention(inputs.args).value;
  ASSERT_EQ(got.size(), static_cast<std::size_t>(c.seqs.queries() * c.heads * c.head_dim));
  std::int64_t token = 0;
  double worst = 0;
  for (std::int64_t s = 0; s < c.seqs.size(); ++s)
    for (std::int64_t i = 0; i < c.seqs[s].q; ++i, ++token)
      for (std::int64_t h = 0; h < c.heads; ++h) {
        const std::vector<double> expected = by_definition(inputs.args, token, s, c.seqs[s].kv - c.seqs[s].q + i, h);
        for (std::size_t d = 0; d < expected.size(); ++d) {
          const double error =
              std::abs(got[static_cast<std::size_t>(token * c.heads + h) * expected.size() + d] - expected[d]);
          worst = error <= worst ? worst : error;  // a NaN stays
        }
      }
  EXPECT_LE(worst, 1e-12);
}

std::vector<ops::AttentionCase> small_cases() {
  std::vector<ops::AttentionCase> cases;
  for (const ops::AttentionCase& c : ops::kAttentionCases)
    if ((c.tags & ops::kSanitize) != 0 && c.q_deviation < 100) cases.push_back(c);  // exp without a maximum overflows
  return cases;
}
INSTANTIATE_TEST_SUITE_P(Cases, RefAttention, testing::ValuesIn(small_cases()), [](const auto& param) {
  std::string name = param.param.name;
  std::replace_if(
      name.begin(), name.end(), [](char ch) { return !std::isalnum(static_cast<unsigned char>(ch)); }, '_');
  return name;
});

TEST(RefAttentionByHand, OneKeyGivesItsValue) {
  ASSERT_VALUE(const auto inputs, ops::make_inputs(ops::AttentionCase{"", 0, 4, 2, 16, {{1, 1}}}, DType::f32));
  const Values values = attention(inputs.args);
  const std::int32_t page = inputs.args.index.page_table.as<std::int32_t>()[0];
  for (std::int64_t h = 0; h < 4; ++h)
    for (std::int64_t i = 0; i < 16; ++i) {
      const float v = inputs.args.kv.v.as<float>()[(page * 2 + h / 2) * 64 * 16 + i];
      EXPECT_EQ(values.value[static_cast<std::size_t>(h * 16 + i)], static_cast<double>(v));
    }
}

TEST(RefAttentionByHand, TwoKeysWeighTheirValuesByTheLogistic) {
  float q[] = {2}, k[] = {1, -1}, v[] = {10, 20}, out[1];
  std::int32_t pages[] = {0}, kv_len[] = {2}, cu_q[] = {0, 1};
  const ops::AttentionArgs args{
      .q = tensor(q, {1, 1, 1}),
      .kv = {.k = tensor(k, {1, 1, 2, 1}), .v = tensor(v, {1, 1, 2, 1})},
      .index = {.page_table = tensor(pages, {1, 1}), .kv_len = tensor(kv_len, {1}), .cu_q = tensor(cu_q, {2})},
      .scale = 0.5f,
      .max_kv = 2,
      .max_q = 1,
      .out = tensor(out, {1, 1, 1})};
  const double p = 1 / (1 + std::exp(-2.0));  // scores 1 and -1
  EXPECT_NEAR(attention(args).value[0], p * 10 + (1 - p) * 20, 1e-14);
  EXPECT_NEAR(attention(args).abs_terms[0], p * 10 + (1 - p) * 20, 1e-14);
}

TEST(RefAttentionByHand, ASubsetIsPartOfTheWhole) {
  ASSERT_VALUE(const auto inputs, ops::make_inputs(ops::AttentionCase{"", 0, 2, 1, 16, {{5, 9}, {3, 80}}}, DType::f32));
  const std::vector<double> whole = attention(inputs.args).value, part = attention(inputs.args, {.rows = {6, 1}}).value;
  ASSERT_EQ(part.size(), 2u * 32);
  EXPECT_TRUE(std::equal(part.begin(), part.begin() + 32, whole.begin() + 6 * 32));
  EXPECT_TRUE(std::equal(part.begin() + 32, part.end(), whole.begin() + 32));
}

TEST(RefAttentionByHand, TheOracleOfTheLabComparesTheChosenTokens) {
  ASSERT_VALUE(const auto inputs, ops::make_inputs(ops::AttentionCase{"", 0, 2, 1, 16, {{5, 9}}}, DType::f32));
  EXPECT_FALSE(check_attention(inputs.args, {0, 3}).passed) << "nothing was written yet";
  const std::vector<double> whole = attention(inputs.args).value;
  for (std::size_t i = 0; i < whole.size(); ++i) inputs.args.out.as<float>()[i] = static_cast<float>(whole[i]);
  EXPECT_TRUE(check_attention(inputs.args, {0, 3}).passed);
  inputs.args.out.as<float>()[3 * 32 + 1] += 1e-3f;
  EXPECT_TRUE(check_attention(inputs.args, {0, 4}).passed);
  EXPECT_EQ(check_attention(inputs.args, {0, 3}).worst_index, 33);
}

}  // namespace
}  // namespace rl::cpu::ref
