// Every CUDA variant over the whole case table, in the card's own memory, through the check that every other variant
// goes through.

#include "card.h"
#include "check/variant.h"

namespace rl::cuda {
namespace {

constexpr unsigned kTags[] = {ops::kQuick, ops::kLong};

// One op's variants, one test each, so that a run can be divided.
template <class Args>
void check_variants(std::span<const ops::Variant<Args>> variants, unsigned tags, std::string_view name) {
  RL_NEED_CARD();
  ASSERT_VALUE(const Card card, open_card());
  int checked = 0;
  for (const ops::Variant<Args>& variant : variants)
    if (std::string_view(variant.name).ends_with(name))
      checked += check::check_variant(
          variant, {.arch = card.device->info().arch, .stream = *card.stream, .device = card.device.get()}, tags);
  std::printf("%d combinations checked\n", checked);
  EXPECT_GT(checked, 0);
}

class CudaVariants : public testing::TestWithParam<unsigned> {};

TEST_P(CudaVariants, Embed) { check_variants(catalog().embed, GetParam(), ""); }
TEST_P(CudaVariants, RmsNorm) { check_variants(catalog().rms_norm, GetParam(), ""); }
TEST_P(CudaVariants, RopeAppend) { check_variants(catalog().rope_append, GetParam(), ""); }
TEST_P(CudaVariants, SiluMul) { check_variants(catalog().silu_mul, GetParam(), ""); }
TEST_P(CudaVariants, Sample) { check_variants(catalog().sample, GetParam(), ""); }
TEST_P(CudaVariants, LinearSkinny) { check_variants(catalog().linear, GetParam(), ".skinny"); }
TEST_P(CudaVariants, LinearCublaslt) { check_variants(catalog().linear, GetParam(), ".cublaslt"); }
TEST_P(CudaVariants, LinearTiled) { check_variants(catalog().linear, GetParam(), ".tiled"); }
TEST_P(CudaVariants, LinearSimple) { check_variants(catalog().linear, GetParam(), ".simple"); }
TEST_P(CudaVariants, AttentionDecode) { check_variants(catalog().attention, GetParam(), ".decode"); }
TEST_P(CudaVariants, AttentionFlash) { check_variants(catalog().attention, GetParam(), ".flash"); }
TEST_P(CudaVariants, AttentionStandard) { check_variants(catalog().attention, GetParam(), ".standard"); }
TEST_P(CudaVariants, AttentionSimple) { check_variants(catalog().attention, GetParam(), ".simple"); }

INSTANTIATE_TEST_SUITE_P(Cases, CudaVariants, testing::ValuesIn(kTags), [](const auto& param) {
  return param.param == ops::kLong ? std::string("Long") : std::string("Quick");
});

}  // namespace
}  // namespace rl::cuda
