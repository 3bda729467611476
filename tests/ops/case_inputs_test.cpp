#include "ops/case_inputs.h"

#include <set>

#include "check/result.h"
#include "num/random.h"
#include "tensor/element.h"

namespace rl::ops {
namespace {

TEST(CaseMemory, GuardsTurnRedOnAWriteBesideTheOutput) {
  for (const std::int64_t at : {std::int64_t{-1}, std::int64_t{-200}, std::int64_t{12}, std::int64_t{12 + 255}}) {
    CaseMemory memory;
    EXPECT_OK(memory.output(DType::f32, {5}));
    ASSERT_VALUE(const TensorRef second, memory.output(DType::bf16, {2, 3}));
    for (std::int64_t i = 0; i < 12; ++i) static_cast<char*>(second.data)[i] = 0;
    EXPECT_OK(memory.check_guards());
    static_cast<char*>(second.data)[at] = 0;
    const Status status = memory.check_guards();
    ASSERT_FALSE(status) << at;
    EXPECT_THAT(status.error().what, testing::HasSubstr(at < 0 ? "output 1 was overrun" : "bytes after it"));
  }
}

TEST(CaseMemory, OutputsStartUnwrittenAndAligned) {
  CaseMemory memory;
  for (const DType type : {DType::f32, DType::bf16, DType::f16, DType::f8_e4m3}) {
    ASSERT_VALUE(const TensorRef t, memory.output(type, {3, 5}));
    for (std::int64_t i = 0; i < 15; ++i) EXPECT_TRUE(std::isnan(load_element(type, t.data, i)));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(t.data) % kAlignment, 0u);
  }
  ASSERT_VALUE(const TensorRef tokens, memory.output(DType::i32, {2}));
  EXPECT_EQ(tokens.as<std::int32_t>()[1], kUnwritten);
}

TEST(CaseMemory, SaysWhenMemoryIsShort) {
  FailingResource failing(host_memory(), 3);
  CaseMemory memory(1, failing);
  EXPECT_OK(memory.normal(DType::f32, {4}));
  EXPECT_OK(memory.output(DType::f32, {4}));
  EXPECT_EQ(memory.normal(DType::f32, {4}).error().kind, ErrorKind::out_of_memory);
}

TEST(CaseInputs, AreTheSameEachTimeAndDifferFromTensorToTensor) {
  const LinearCase c{"", 0, 4, 8, 8, true};
  const LinearTypes types{DType::f32, quant::Format::f32, DType::f32};
  ASSERT_VALUE(const auto a, make_inputs(c, types, quant::Layout::row_major));
  ASSERT_VALUE(const auto b, make_inputs(c, types, quant::Layout::row_major));
  EXPECT_EQ(std::memcmp(a.args.x.data, b.args.x.data, 4 * 8 * 4), 0);
  EXPECT_EQ(std::memcmp(a.args.weight.data, b.args.weight.data, 8 * 8 * 4), 0);
  EXPECT_NE(a.args.x.as<float>()[0], a.args.bias.as<float>()[0]);
  // A known number: the generator is part of what makes results comparable between machines.
  const num::PhiloxBlock keys = num::random_block(kCaseSeed, 1, 0);
  EXPECT_EQ(a.args.x.as<float>()[0],
            static_cast<float>(num::hashed_normal(keys[0], keys[1], 0)) * num::kInverseDeviation);
}

// Every row of every table that is not large makes arguments that its op accepts, with names of its own.
template <class Case, std::size_t N, class F>
void expect_legal(const Case (&cases)[N], F&& make) {
  std::set<std::string> names;
  unsigned tags = 0;
  for (const Case& c : cases) {
    EXPECT_TRUE(names.insert(c.name).second) << c.name;
    tags |= c.tags;
    if ((c.tags & kLong) != 0) continue;
    SCOPED_TRACE(c.name);
    make(c);
  }
  EXPECT_EQ(tags & kQuick, kQuick);
  EXPECT_EQ(tags & kSanitize, kSanitize);
}

TEST(CaseTables, MakeLegalArguments) {
  constexpr auto kPanels = quant::Layout::panel64;
  expect_legal(kEmbedCases, [](const EmbedCase& c) {
    ASSERT_VALUE(const auto inputs, make_inputs(c, quant::Format::int8, kPanels));
    EXPECT_OK(validate(inputs.args));
  });
  expect_legal(kLinearCases, [](const LinearCase& c) {
    for (const LinearTypes& types : {kLinearTypes[0], kLinearTypes[5]}) {
      ASSERT_VALUE(const auto inputs, make_inputs(c, types, kPanels));
      EXPECT_OK(validate(inputs.args));
    }
  });
  expect_legal(kRmsNormCases, [](const RmsNormCase& c) {
    ASSERT_VALUE(const auto inputs, make_inputs(c, DType::bf16));
    EXPECT_OK(validate(inputs.args));
  });
  expect_legal(kSiluMulCases, [](const SiluMulCase& c) {
    ASSERT_VALUE(const auto inputs, make_inputs(c, DType::bf16));
    EXPECT_OK(validate(inputs.args));
  });
  expect_legal(kRopeAppendCases, [](const RopeAppendCase& c) {
    ASSERT_VALUE(const auto inputs, make_inputs(c, DType::bf16));
    EXPECT_OK(validate(inputs.args));
  });
  expect_legal(kAttentionCases, [](const AttentionCase& c) {
    ASSERT_VALUE(const auto inputs, make_inputs(c, DType::bf16));
    EXPECT_OK(validate(inputs.args));
  });
  expect_legal(kFusedLinearCases, [](const FusedLinearCase& c) {
    for (const FusedTypes& types : kFusedTypes) {
      ASSERT_VALUE(const auto inputs, make_inputs(c, types));
      EXPECT_OK(validate(inputs.args));
    }
  });
  expect_legal(kFeedCases, [](const FeedCase& c) {
    ASSERT_VALUE(const auto inputs, make_inputs(c));
    EXPECT_OK(validate(inputs.args));
  });
  expect_legal(kDeliverCases, [](const DeliverCase& c) {
    ASSERT_VALUE(const auto inputs, make_inputs(c));
    EXPECT_OK(validate(inputs.args));
  });
  expect_legal(kSampleCases, [](const SampleCase& c) {
    ASSERT_VALUE(const auto inputs, make_inputs(c));
    EXPECT_OK(validate(inputs.args));
  });
}

TEST(CaseTables, CoverWhatAttentionMeets) {
  std::set<std::int64_t> head_dims, groups;
  bool prefill = false, decode = false, mixed = false, one = false, mqa = false, window_in = false, window_out = false;
  for (const AttentionCase& c : kAttentionCases) {
    head_dims.insert(c.head_dim);
    groups.insert(c.heads / c.kv_heads);
    mqa |= c.kv_heads == 1 && c.heads > 1;
    bool all_one = true, some_one = false;
    for (std::int64_t s = 0; s < c.seqs.size(); ++s) {
      all_one &= c.seqs[s].q == 1;
      some_one |= c.seqs[s].q == 1;
      one |= c.seqs[s].kv == 1;
    }
    prefill |= !some_one;
    decode |= all_one;
    mixed |= some_one && !all_one;
    window_in |= c.window > 0 && c.window < c.seqs.longest();
    window_out |= c.window > c.seqs.longest();
  }
  for (const std::int64_t d : {16, 24, 64, 96, 128, 256}) EXPECT_TRUE(head_dims.contains(d)) << d;
  for (const std::int64_t g : {1, 2, 4, 8}) EXPECT_TRUE(groups.contains(g)) << g;
  EXPECT_TRUE(prefill && decode && mixed && one && mqa && window_in && window_out);
}

TEST(CaseInputs, PagesAreShuffledAndHoldNaNBeyondTheirSequences) {
  ASSERT_VALUE(const auto inputs, make_inputs(AttentionCase{"", 0, 2, 1, 16, {{1, 200}, {3, 65}}}, DType::f32));
  const AttentionArgs& args = inputs.args;
  const auto* table = args.index.page_table.as<std::int32_t>();
  const std::int64_t max_pages = args.index.page_table.shape[1];
  std::set<std::int32_t> used;
  for (int p = 0; p < 4; ++p) used.insert(table[p]);
  for (int p = 0; p < 2; ++p) used.insert(table[max_pages + p]);
  EXPECT_EQ(used.size(), 6u) << "no page belongs to two sequences";
  EXPECT_FALSE(std::is_sorted(table, table + 4) && std::is_sorted(table + max_pages, table + max_pages + 2));
  EXPECT_EQ(table[max_pages + 2], INT32_MAX);
  std::int64_t numbers = 0;
  for (std::int64_t i = 0; i < args.kv.k.elements(); ++i) numbers += std::isnan(args.kv.k.as<float>()[i]) ? 0 : 1;
  EXPECT_EQ(numbers, 265 * 16);
}

TEST(ChooseIndices, TakesBothEndsAndTileBorders) {
  EXPECT_THAT(choose_indices(3, 0), testing::ElementsAre(0, 1, 2));
  EXPECT_THAT(choose_indices(3, 9), testing::ElementsAre(0, 1, 2));
  const std::vector<std::int64_t> chosen = choose_indices(1000, 20);
  EXPECT_EQ(chosen.size(), 20u);
  EXPECT_TRUE(std::is_sorted(chosen.begin(), chosen.end()));
  for (const std::int64_t i : {0, 1, 63, 64, 959, 960, 998, 999})
    EXPECT_TRUE(std::binary_search(chosen.begin(), chosen.end(), i)) << i;
}

}  // namespace
}  // namespace rl::ops
