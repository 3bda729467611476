// Every variant of the CPU's lists through the one check, at each level of instruction set this processor has: values,
// guards, and the facts it states about itself (deterministic, batch-invariant).

#include "check/variant.h"
#include "cpu/fast/cpu_device.h"

// The cases' tags: small ones here, the large shapes of real models in the soak test, which is this file again.
#ifndef REDLINE_CASE_TAGS
#define REDLINE_CASE_TAGS ops::kSanitize
#endif

namespace rl::cpu {
namespace {

class Variants : public testing::TestWithParam<const char*> {
 protected:
  // Checks all variants but the last, which is the oracle's own.
  template <class Args>
  void check_all(std::span<const ops::Variant<Args>> variants) {
    ThreadPool pool(3);
    CpuStream stream(pool, detect_arch(GetParam()));
    std::vector<const ops::Variant<Args>*> all;
    for (const ops::Variant<Args>& variant : variants.first(variants.size() - 1)) all.push_back(&variant);
    EXPECT_GT(check::check_variants(all, {.arch = stream.arch(), .stream = stream}, REDLINE_CASE_TAGS), 0);
  }
};

TEST_P(Variants, Embed) { check_all(catalog().embed); }
TEST_P(Variants, Linear) { check_all(catalog().linear); }
TEST_P(Variants, RmsNorm) { check_all(catalog().rms_norm); }
TEST_P(Variants, RopeAppend) { check_all(catalog().rope_append); }
TEST_P(Variants, Attention) { check_all(catalog().attention); }
TEST_P(Variants, SiluMul) { check_all(catalog().silu_mul); }
TEST_P(Variants, Feed) { check_all(catalog().feed); }
TEST_P(Variants, Deliver) { check_all(catalog().deliver); }
TEST_P(Variants, Sample) { check_all(catalog().sample); }

// Large cases at the fastest level alone: the others differ from it in code that small cases reach.
std::vector<const char*> levels() {
  if ((REDLINE_CASE_TAGS & ops::kLong) != 0) return {"amx"};
  return {"amx", "avx512", "avx2", "none"};
}
INSTANTIATE_TEST_SUITE_P(Levels, Variants, testing::ValuesIn(levels()),
                         [](const auto& param) { return std::string(param.param); });

}  // namespace
}  // namespace rl::cpu
