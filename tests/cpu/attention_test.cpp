// Flash and standard attention against cpu/ref: every quick case in f32 and bf16, under every limit of the instruction
// set; then what the case table cannot say: two variants of one result, equal bits, parts of long sequences.

#include "ops/attention.h"

#include "cpu/fast/attention_kernels.h"
#include "cpu/fast/variants.h"
#include "cpu/launch.h"
#include "cpu/ref/ref.h"
#include "ops/compare.h"
#include "ops/tolerance.h"

namespace rl::cpu {
namespace {

const ops::Variant<ops::AttentionArgs>& variant_named(std::string_view name) {
  for (const auto& variant : attention_variants())
    if (variant.name == name) return variant;
  RL_CHECK_MSG(false, "no such variant");
  std::abort();
}

bool is_nan(const TensorRef& t, std::int64_t i) { return std::isnan(load_element(t.dtype, t.data, i)); }

TEST(Attention, EveryVariantAgreesWithTheOracle) {
  ThreadPool pool(2);
  std::map<std::string, int> ran, refused;
  for (const ops::AttentionCase& c : ops::kAttentionCases) {
    if (!(c.tags & ops::kQuick)) continue;
    for (const ops::CacheTypes types : ops::kCacheTypes) {
      ASSERT_VALUE(auto inputs, make_inputs(c, types));
      const ops::AttentionArgs& args = inputs.args;
      const std::vector<std::byte> unwritten = bytes_of(args.out);
      const ops::Subset tokens{ops::choose_indices(c.seqs.queries(), c.check_tokens), {}};
      const ops::Values reference = ref::attention(args, tokens);
      const std::vector<double> tolerance = ops::tolerance(args, reference);
      for (const auto& variant : attention_variants()) {
        if (const Status can = variant.supports(args, detect_arch()); !can) {
          EXPECT_TRUE(c.head_dim % 8 != 0 || c.page_tokens < 16) << can.error().message();
          ++refused[variant.name];
          continue;
        }
        for (const std::string_view limit : kLimits) {
          SCOPED_TRACE(fmt::format("{} {} {}, cache {}, under {}", variant.name, c.name, name_of(types.activation),
                                   name_of(types.cache), limit));
          set_bytes(args.out, unwritten);
          ASSERT_OK(launch(variant, args, pool, limit));
          ASSERT_OK(inputs.memory.check_guards());
          const ops::Comparison comparison = ops::compare(args.out, tokens, reference.value, tolerance);
          ASSERT_TRUE(comparison.passed) << comparison.message();
          const std::int64_t row = c.heads * c.head_dim, used = c.seqs.queries() * row;
          for (std::int64_t i = 0; i < args.out.elements(); ++i)
            ASSERT_EQ(is_nan(args.out, i), i >= used) << "token " << i / row;
          ++ran[variant.name];
        }
      }
    }
  }
  EXPECT_EQ(refused["attention/cpu.flash"], 12);  // head_dim 19 and pages of 8 tokens, in each type
  EXPECT_GT(ran["attention/cpu.flash"], 500);
  EXPECT_EQ(ran["attention/cpu.flash"], ran["attention/cpu.standard"]);
}

// Shapes in which rows, parts and pages meet in ways the table's do not.
constexpr ops::AttentionCase kPathCases[] = {
    {"parts.stream", 0, 4, 1, 64, {{1, 8192}, {1, 511}, {1, 513}, {2, 1100}}},
    {"parts.tile", 0, 12, 1, 40, {{1, 2500}, {5, 1025}, {3, 9000}}},
    {"parts.window", 0, 4, 2, 32, {{1, 3000}, {9, 2900}}, true, 1500},
    {"parts.full", 0, 2, 1, 16, {{1, 1500}, {30, 2000}}, false},
    {"group_of_71", 0, 71, 1, 64, {{3, 30}, {1, 2500}, {70, 70}}},
    {"group_of_130", 0, 130, 1, 16, {{2, 130}}},
    {"groups_of_3_5_6_7.3", 0, 6, 2, 72, {{1, 77}, {2, 130}}},
    {"groups_of_3_5_6_7.5", 0, 5, 1, 8, {{1, 77}, {9, 90}}, true, 30},
    {"groups_of_3_5_6_7.6", 0, 6, 1, 128, {{1, 130}}},
    {"groups_of_3_5_6_7.7", 0, 7, 1, 256, {{1, 66}, {20, 66}}},
    {"pages_of_32", 0, 4, 2, 48, {{1, 1300}, {40, 100}}, true, 0, 0, false, 32},
    {"pages_of_128", 0, 4, 2, 80, {{1, 1300}, {40, 300}}, true, 100, 0, false, 128},
};

TEST(Attention, FlashAndStandardAgreeWithTheOracleOnEveryPath) {
  ThreadPool pool(3);
  for (const ops::AttentionCase& c : kPathCases)
    for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
      ASSERT_VALUE(auto inputs, make_inputs(c, type));
      const ops::Subset tokens{ops::choose_indices(c.seqs.queries(), 12), {}};
      const ops::Values reference = ref::attention(inputs.args, tokens);
      const std::vector<double> tolerance = ops::tolerance(inputs.args, reference);
      for (const std::string_view limit : kLimits)
        for (const auto& variant : attention_variants()) {
          SCOPED_TRACE(fmt::format("{} {} {} under {}", variant.name, c.name, name_of(type), limit));
          ASSERT_OK(launch(variant, inputs.args, pool, limit));
          ASSERT_OK(inputs.memory.check_guards());
          const ops::Comparison comparison = ops::compare(inputs.args.out, tokens, reference.value, tolerance);
          ASSERT_TRUE(comparison.passed) << comparison.message();
        }
    }
}

// The output may be of another type than q.
TEST(Attention, OutputTypeIsFree) {
  ThreadPool pool(1);
  for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
    ASSERT_VALUE(auto inputs, make_inputs(ops::AttentionCase{"types", 0, 4, 2, 64, {{1, 70}, {20, 90}}}, type));
    ops::AttentionArgs& args = inputs.args;
    ASSERT_VALUE(args.out, inputs.memory.output(type == DType::f32 ? DType::bf16 : DType::f32, {21, 4, 64}));
    const ops::Values reference = ref::attention(args);
    for (const std::string_view limit : kLimits)
      for (const auto& variant : attention_variants()) {
        ASSERT_OK(launch(variant, args, pool, limit));
        const ops::Comparison comparison =
            ops::compare(args.out, ops::Subset{}, reference.value, ops::tolerance(args, reference));
        ASSERT_TRUE(comparison.passed) << variant.name << " " << limit << ": " << comparison.message();
      }
  }
}

// The oracle takes long sequences on all processors: two tokens together are long enough, one is not.
TEST(Attention, TheOracleOfLongSequencesHasTheValuesOfOneProcessor) {
  ASSERT_VALUE(auto inputs, make_inputs(ops::AttentionCase{"long", 0, 16, 1, 128, {{2, 40000}}}, DType::bf16));
  const ops::Values together = ref::attention(inputs.args);
  ops::Values singly;
  for (const std::int64_t token : {0, 1}) {
    const ops::Values one = ref::attention(inputs.args, {.rows = {token}, .cols = {}});
    for (const auto part : {&ops::Values::value, &ops::Values::abs_terms, &ops::Values::score_terms,
                            &ops::Values::root_terms, &ops::Values::value_root})
      (singly.*part).insert((singly.*part).end(), (one.*part).begin(), (one.*part).end());
  }
  ASSERT_EQ(together.value.size(), 2U * 16 * 128);
  EXPECT_EQ(together.value, singly.value);
  EXPECT_EQ(together.abs_terms, singly.abs_terms);
  EXPECT_EQ(together.score_terms, singly.score_terms);
  EXPECT_EQ(together.root_terms, singly.root_terms);
  EXPECT_EQ(together.value_root, singly.value_root);
}

// Equal bits from run to run and on any number of threads.
TEST(Attention, BitsDoNotDependOnThreads) {
  const ops::AttentionCase c{"bits", 0, 8, 2, 64, {{1, 3000}, {130, 200}, {1, 70}, {5, 1500}}, true, 0};
  for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
    ASSERT_VALUE(auto inputs, make_inputs(c, type));
    for (const std::string_view limit : kLimits)
      for (const auto& variant : attention_variants()) {
        ASSERT_TRUE(variant.facts.deterministic);
        std::vector<std::byte> first;
        for (const int threads : {1, 2, 3, 3}) {
          ThreadPool pool(threads);
          ASSERT_OK(launch(variant, inputs.args, pool, limit));
          const std::vector<std::byte> bytes = bytes_of(inputs.args.out);
          if (first.empty()) first = bytes;
          ASSERT_TRUE(bytes == first) << variant.name << " " << limit << ", " << threads << " threads";
        }
      }
  }
}

// A sequence alone gives the bits it gives among others.
TEST(Attention, BitsDoNotDependOnTheBatch) {
  const ops::AttentionCase c{"batch", 0, 8, 2, 64, {{1, 3000}, {90, 200}, {1, 70}, {2, 1500}, {1, 520}}};
  ThreadPool pool(2);
  for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
    ASSERT_VALUE(auto inputs, make_inputs(c, type));
    const ops::AttentionArgs& all = inputs.args;
    for (const std::string_view limit : kLimits)
      for (const auto& variant : attention_variants()) {
        ASSERT_TRUE(variant.facts.batch_invariant);
        ASSERT_OK(launch(variant, all, pool, limit));
        const std::vector<std::byte> together = bytes_of(all.out);
        const std::int64_t token_bytes = c.heads * c.head_dim * size_of(type);
        for (std::int64_t s = 0, token = 0; s < c.seqs.size(); token += c.seqs[s].q, ++s) {
          const std::int64_t queries = c.seqs[s].q;
          std::int32_t cu_q[] = {0, static_cast<std::int32_t>(queries)};
          ops::AttentionArgs alone = all;
          for (TensorRef* t : {&alone.q, &alone.out}) {
            t->data = static_cast<std::byte*>(t->data) + token * token_bytes;
            t->shape[0] = queries;
          }
          const auto row_of = [&](const TensorRef& t, std::int64_t cols) {
            return tensor(t.as<std::int32_t>() + s * cols, {1, cols});
          };
          alone.index.page_table = row_of(all.index.page_table, all.index.page_table.shape[1]);
          alone.index.kv_len = tensor(all.index.kv_len.as<std::int32_t>() + s, {1});
          alone.index.cu_q = tensor(cu_q, {2});
          alone.max_q = queries;
          alone.max_kv = c.seqs[s].kv;
          ASSERT_OK(launch(variant, alone, pool, limit));
          ASSERT_EQ(std::memcmp(alone.out.data, together.data() + token * token_bytes,
                                static_cast<std::size_t>(queries * token_bytes)),
                    0)
              << variant.name << " " << limit << ", sequence " << s;
        }
      }
  }
}

// The last page behind the last key, and pages behind it, may hold anything.
TEST(Attention, KeysBeyondTheEndAreNotUsed) {
  ThreadPool pool(1);
  for (const DType type : {DType::f32, DType::bf16, DType::f16})
    for (const std::int64_t q : {1, 20}) {
      ASSERT_VALUE(auto nan, make_inputs(ops::AttentionCase{"end", 0, 2, 1, 32, {{q, 73}}}, type));
      ASSERT_VALUE(auto large, make_inputs(ops::AttentionCase{"end", 0, 2, 1, 32, {{q, 73}}}, type));
      for (const TensorRef* pages : {&large.args.kv.k, &large.args.kv.v})
        for (std::int64_t i = 0; i < pages->elements(); ++i)
          if (is_nan(*pages, i)) store_element(type, pages->data, i, 1e30);
      for (const std::string_view limit : kLimits)
        for (const auto& variant : attention_variants()) {
          ASSERT_OK(launch(variant, nan.args, pool, limit));
          ASSERT_OK(launch(variant, large.args, pool, limit));
          EXPECT_TRUE(bytes_of(nan.args.out) == bytes_of(large.args.out)) << variant.name << " " << limit;
        }
    }
}

// A NaN that a query does see reaches its output and no other query's.
TEST(Attention, NaNIsNotHidden) {
  ThreadPool pool(1);
  for (const std::int64_t queries : {1, 20}) {
    ASSERT_VALUE(auto inputs,
                 make_inputs(ops::AttentionCase{"nan", 0, 2, 1, 32, {{queries, 64}, {queries, 64}}}, DType::bf16));
    const ops::AttentionArgs& args = inputs.args;
    const std::int64_t page = args.index.page_table.as<std::int32_t>()[args.index.page_table.shape[1]];
    store_element(DType::bf16, args.kv.k.data, page * 64 * 32 + 5, std::nan(""));
    for (const std::string_view limit : kLimits)
      for (const auto& variant : attention_variants()) {
        ASSERT_OK(launch(variant, args, pool, limit));
        for (std::int64_t i = 0; i < args.out.elements(); ++i)
          ASSERT_EQ(is_nan(args.out, i), i >= args.out.elements() / 2) << variant.name << " " << limit << " " << i;
      }
  }
}

// Standard holds the score matrix; flash does not grow with queries x keys.
TEST(Attention, WorkspaceIsTheScoreMatrixOrSmall) {
  const auto bytes_at = [](std::string_view name, std::int64_t n) {
    ops::AttentionArgs args;
    const std::int64_t pages = n / 64;
    args.q = tensor(nullptr, DType::bf16, {n, 32, 128});
    args.kv.k = args.kv.v = tensor(nullptr, DType::bf16, {pages, 8, 64, 128});
    args.index.page_table = tensor(nullptr, DType::i32, {1, pages});
    args.index.kv_len = tensor(nullptr, DType::i32, {1});
    args.index.cu_q = tensor(nullptr, DType::i32, {2});
    args.max_kv = args.max_q = n;
    args.out = args.q;
    return static_cast<double>(variant_named(name).workspace(args).count);
  };
  for (const std::int64_t n : {512, 2048, 4096}) {
    const double scores = 32.0 * 4 * static_cast<double>(n * n);
    EXPECT_GE(bytes_at("attention/cpu.standard", n), scores);
    EXPECT_LE(bytes_at("attention/cpu.standard", n), 1.02 * scores + 4096);
  }
  EXPECT_LE(bytes_at("attention/cpu.flash", 4096), 32.0 * 16 * 4 * (128 + 16) * 4 * 8);
  EXPECT_EQ(bytes_at("attention/cpu.flash", 131072), bytes_at("attention/cpu.flash", 32768));
}

TEST(Attention, RefusesWhatItCannotComputeWithAReason) {
  ASSERT_VALUE(auto odd, make_inputs(ops::AttentionCase{"odd", 0, 1, 1, 20, {{1, 5}}}, DType::f32));
  ASSERT_VALUE(auto wide, make_inputs(ops::AttentionCase{"wide", 0, 1, 1, 264, {{1, 5}}}, DType::f32));
  ASSERT_VALUE(auto pages,
               make_inputs(ops::AttentionCase{"pages", 0, 1, 1, 16, {{1, 5}}, true, 0, 0, false, 48}, DType::f32));
  for (const auto& variant : attention_variants()) {
    for (const ops::AttentionArgs& args : {odd.args, wide.args, pages.args}) {
      const Status can = variant.supports(args, detect_arch());
      ASSERT_FALSE(can);
      EXPECT_EQ(can.error().kind, ErrorKind::unsupported);
      EXPECT_FALSE(can.error().what.empty());
    }
    EXPECT_FALSE(variant.supports(odd.args, Arch{.family = Arch::Family::cuda, .version = 90}));
  }
}

}  // namespace
}  // namespace rl::cpu
