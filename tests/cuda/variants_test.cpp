// Every CUDA variant over the whole case table, in the card's own memory, through the check that every other variant
// goes through.

#include <thread>

#include "card.h"
#include "check/variant.h"
#include "selftest/check_fused.h"

namespace rl::cuda {
namespace {

// Large shapes keep the oracle busy: their combinations are divided, so that tests can run side by side.
struct Part {
  unsigned tags;
  int part, parts;
};
std::vector<Part> parts() {
  std::vector<Part> all = {{ops::kQuick, 0, 1}};
  for (int i = 0; i < 12; ++i) all.push_back({ops::kLong, i, 12});
  return all;
}

selftest::Target target_of(const Card& card, const Part& part = {ops::kQuick, 0, 1}) {
  return {.arch = card.device->info().arch,
          .stream = *card.stream,
          .device = card.device.get(),
          .layouts = catalog().layouts,
          .part = part.part,
          .parts = part.parts};
}
template <class Args>
const ops::Variant<Args>* named(std::span<const ops::Variant<Args>> variants, std::string_view name) {
  const auto found = std::find_if(variants.begin(), variants.end(),
                                  [&](const auto& variant) { return std::string_view(variant.name).ends_with(name); });
  return found == variants.end() ? nullptr : &*found;
}

// Whether a card of this compute capability runs a variant at all, as supports() has it.
bool runs_on(int version, std::string_view variant) {
  const auto has = [&](std::string_view word) { return variant.find(word) != variant.npos; };
  if (has("cublaslt_fp8_sums")) return version >= 89;
  if (has("wgmma") || has("cublaslt_fp8")) return version == 90;
  return !has("batch") || version == 90 || version >= 120;
}

// A part may hold nothing that a variant supports; all parts of an op's quick cases hold something.
template <class Args>
void check_variants(std::span<const ops::Variant<Args>> variants, const Part& part, std::string_view name) {
  RL_NEED_CARD();
  ASSERT_VALUE(const Card card, open_card());
  std::vector<const ops::Variant<Args>*> meant;
  for (const ops::Variant<Args>& variant : variants)
    if (std::string_view(variant.name).ends_with(name) && runs_on(card.device->info().arch.version, variant.name))
      meant.push_back(&variant);
  if (meant.empty()) {
    const testing::TestInfo& test = *testing::UnitTest::GetInstance()->current_test_info();
    ruled_out().insert(fmt::format("{}.{}", test.test_suite_name(), test.name()));
    GTEST_SKIP() << name << " is for other compute capabilities";
  }
  const int checked = check::check_variants(meant, target_of(card, part), part.tags);
  std::printf("%d combinations checked\n", checked);
  if (part.parts == 1) {
    EXPECT_GT(checked, 0);
  }
}

class CudaVariants : public testing::TestWithParam<Part> {};

TEST_P(CudaVariants, Embed) { check_variants(catalog().embed, GetParam(), ""); }
TEST_P(CudaVariants, RmsNorm) { check_variants(catalog().rms_norm, GetParam(), ""); }
TEST_P(CudaVariants, RopeAppend) { check_variants(catalog().rope_append, GetParam(), ""); }
TEST_P(CudaVariants, SiluMul) { check_variants(catalog().silu_mul, GetParam(), ""); }
TEST_P(CudaVariants, Sample) { check_variants(catalog().sample, GetParam(), ""); }
TEST_P(CudaVariants, Feed) { check_variants(catalog().feed, GetParam(), ""); }
TEST_P(CudaVariants, Deliver) { check_variants(catalog().deliver, GetParam(), ""); }
TEST_P(CudaVariants, LinearStream) { check_variants(catalog().linear, GetParam(), ".stream"); }
TEST_P(CudaVariants, LinearBatch) { check_variants(catalog().linear, GetParam(), ".batch"); }
TEST_P(CudaVariants, LinearBatch64) { check_variants(catalog().linear, GetParam(), ".batch_64"); }
TEST_P(CudaVariants, LinearSkinny) { check_variants(catalog().linear, GetParam(), ".skinny"); }
TEST_P(CudaVariants, LinearCublaslt) { check_variants(catalog().linear, GetParam(), ".cublaslt"); }
TEST_P(CudaVariants, LinearCublasltFp8) { check_variants(catalog().linear, GetParam(), ".cublaslt_fp8"); }
TEST_P(CudaVariants, LinearCublasltOtherProposals) {
  for (const char* name : {"_second", "_third", "_fourth"}) check_variants(catalog().linear, GetParam(), name);
}
TEST_P(CudaVariants, LinearCublasltFp8Sums) { check_variants(catalog().linear, GetParam(), ".cublaslt_fp8_sums"); }
TEST_P(CudaVariants, LinearCublasltInt8) { check_variants(catalog().linear, GetParam(), ".cublaslt_int8"); }
TEST_P(CudaVariants, LinearCublasltWidened) { check_variants(catalog().linear, GetParam(), ".cublaslt_widened"); }
TEST_P(CudaVariants, LinearWgmmaInt8) { check_variants(catalog().linear, GetParam(), ".wgmma_int8"); }
TEST_P(CudaVariants, LinearWgmmaInt8Of128) { check_variants(catalog().linear, GetParam(), ".wgmma_int8_128"); }
TEST_P(CudaVariants, LinearWgmmaFp8Block) { check_variants(catalog().linear, GetParam(), ".wgmma_fp8_block"); }
TEST_P(CudaVariants, LinearWgmmaFp8BlockOf128) { check_variants(catalog().linear, GetParam(), ".wgmma_fp8_block_128"); }
TEST_P(CudaVariants, LinearTiled) { check_variants(catalog().linear, GetParam(), ".tiled"); }
TEST_P(CudaVariants, LinearSimple) { check_variants(catalog().linear, GetParam(), ".simple"); }
TEST_P(CudaVariants, AttentionDecode) { check_variants(catalog().attention, GetParam(), ".decode"); }
TEST_P(CudaVariants, AttentionFlash) { check_variants(catalog().attention, GetParam(), ".flash"); }
TEST_P(CudaVariants, AttentionFlashWgmma) { check_variants(catalog().attention, GetParam(), ".flash_wgmma"); }
TEST_P(CudaVariants, AttentionMixed) { check_variants(catalog().attention, GetParam(), ".mixed"); }
TEST_P(CudaVariants, AttentionMixedWgmma) { check_variants(catalog().attention, GetParam(), ".mixed_wgmma"); }
TEST_P(CudaVariants, AttentionMixedKv8) { check_variants(catalog().attention, GetParam(), ".mixed_kv8"); }
TEST_P(CudaVariants, AttentionFlashKv8) { check_variants(catalog().attention, GetParam(), ".flash_kv8"); }
TEST_P(CudaVariants, AttentionStandard) { check_variants(catalog().attention, GetParam(), ".standard"); }
TEST_P(CudaVariants, AttentionSimple) { check_variants(catalog().attention, GetParam(), ".simple"); }

TEST_P(CudaVariants, FusedLinear) {
  RL_NEED_CARD();
  ASSERT_VALUE(const Card card, open_card());
  for (const auto& variant : catalog().fused_linear) {
    if (!runs_on(card.device->info().arch.version, variant.name)) continue;
    const int checked =
        check::told(selftest::check_fused(variant, catalog(), target_of(card, GetParam()), GetParam().tags));
    std::printf("%s: %d combinations checked\n", variant.name, checked);
    if (GetParam().parts == 1) {
      EXPECT_GT(checked, 0);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, CudaVariants, testing::ValuesIn(parts()), [](const auto& param) {
  return param.param.parts == 1 ? std::string("Quick") : "Long" + std::to_string(param.param.part);
});

// A product's stream and the kernel for few tokens add in the same order.
TEST(CudaLinear, AStreamHasTheBitsOfTheSkinnyProduct) {
  RL_NEED_CARD();
  ASSERT_VALUE(const Card card, open_card());
  const selftest::Target target = target_of(card);
  const auto *const stream = named(catalog().linear, "/cuda.stream"), *const skinny =
                                                                          named(catalog().linear, "/cuda.skinny");
  ASSERT_NE(stream, nullptr);
  ASSERT_NE(skinny, nullptr);
  int compared = 0;
  for (const ops::LinearCase& c : ops::kLinearCases)
    for (const ops::LinearTypes& types : ops::kLinearTypes) {
      if ((c.tags & ops::kQuick) == 0 || !takes(c, types)) continue;
      ASSERT_VALUE(const auto one, ops::make_inputs(c, types, quant::Layout::row_major));
      if (!stream->supports(one.args, target.arch)) continue;
      ASSERT_VALUE(const auto other, ops::make_inputs(c, types, quant::Layout::row_major));
      ASSERT_OK(selftest::detail::launch(*stream, one.args, one.memory, target));
      ASSERT_OK(selftest::detail::launch(*skinny, other.args, other.memory, target));
      EXPECT_TRUE(selftest::detail::same_rows(one.args.out, other.args.out)) << c.name;
      ++compared;
    }
  EXPECT_GT(compared, 50);
}

// Threads with a stream each, whose products need more and less shared memory of one kernel.
TEST(CudaLinear, ThreadsStreamProductsOfDifferentWidths) {
  RL_NEED_CARD();
  ASSERT_VALUE(const Card card, open_card());
  const auto* const stream = named(catalog().linear, "/cuda.stream");
  ASSERT_NE(stream, nullptr);
  const auto work = [&](std::int64_t cols, Status& result) {
    result = [&]() -> Status {
      RL_ASSIGN(const auto own, card.device->make_stream());
      RL_ASSIGN(const auto inputs,
                ops::make_inputs(ops::LinearCase{"", 0, 2, 32, cols}, ops::kLinearTypes[4], quant::Layout::row_major));
      RL_ASSIGN(const ops::CaseMirror there, ops::CaseMirror::make(*card.device, *own, inputs.memory));
      for (int i = 0; i < 2000; ++i) RL_TRY(stream->launch(there.there(inputs.args), nullptr, *own));
      return own->synchronize();
    }();
  };
  constexpr std::int64_t kCols[] = {64, 4096, 8192, 12288};
  std::vector<Status> results(std::size(kCols), ok());
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < std::size(kCols); ++i) threads.emplace_back(work, kCols[i], std::ref(results[i]));
  for (std::thread& thread : threads) thread.join();
  for (const Status& result : results) EXPECT_OK(result);
}

// In a step of both kinds each sequence has the bits that a step of its kind alone gives it.
TEST(CudaAttention, AMixedStepIsAStepOfEachKind) {
  RL_NEED_CARD();
  ASSERT_VALUE(const Card card, open_card());
  const selftest::Target target = target_of(card);
  const ops::AttentionCase c{"", 0, 8, 2, 64, {{1, 3000}, {1, 1}, {1, 64}, {40, 40}, {33, 1097}}};
  constexpr std::int64_t kOneQuery = 3;
  struct Kind {
    ops::CacheTypes types;
    const char *mixed, *flash;
  };
  const Kind kinds[] = {{DType::bf16, ".mixed", ".flash"},
                        {DType::bf16, ".mixed_wgmma", ".flash_wgmma"},
                        {{DType::bf16, DType::f8_e4m3}, ".mixed_kv8", ".flash_kv8"}};
  int compared = 0;
  for (const auto& [types, of_both, of_many] : kinds) {
    const auto out_of = [&](std::string_view name, bool cut) -> std::vector<num::bf16> {
      auto inputs = ops::make_inputs(c, types);
      EXPECT_TRUE(inputs.has_value());
      if (!inputs) return {};
      ops::AttentionArgs args = inputs->args;
      if (cut) {
        args.index.page_table.shape[0] = args.index.kv_len.shape[0] = kOneQuery;
        args.index.cu_q.shape[0] = kOneQuery + 1;
        args.q.shape[0] = args.out.shape[0] = kOneQuery;
        args.max_q = 1;
      }
      const auto* const variant = named(catalog().attention, name);
      EXPECT_OK(variant->supports(args, target.arch));
      EXPECT_OK(selftest::detail::launch(*variant, args, inputs->memory, target));
      const auto* const bits = inputs->args.out.as<const num::bf16>();
      return {bits, bits + inputs->args.out.elements()};
    };
    if (!runs_on(target.arch.version, of_many)) continue;
    const std::vector<num::bf16> mixed = out_of(of_both, false), decode = out_of(".decode", true),
                                 flash = out_of(of_many, false);
    ASSERT_FALSE(mixed.empty() || decode.empty() || flash.empty());
    const auto border = static_cast<std::ptrdiff_t>(kOneQuery * c.heads * c.head_dim);
    EXPECT_TRUE(std::equal(mixed.begin(), mixed.begin() + border, decode.begin()));
    EXPECT_TRUE(std::equal(mixed.begin() + border, mixed.end(), flash.begin() + border)) << of_both;
    ++compared;
  }
  EXPECT_GE(compared, 2);
}

}  // namespace
}  // namespace rl::cuda
