// The oracle's own variants through the check that every other variant goes through: inputs are legal, stores round
// right, nothing is written where nothing belongs. And the check itself, with variants that are wrong on purpose.

#include <gtest/gtest-spi.h>

#include "check/variant.h"

namespace rl::cpu::ref {
namespace {

using check::check_variant;
using check::NullStream;

// Cases small enough for the oracle to compute whole outputs, some of them several times over.
constexpr unsigned kTags = ops::kSanitize;

template <class Args>
void check_last(std::span<const ops::Variant<Args>> variants, int at_least) {
  NullStream stream;
  EXPECT_GE(check_variant(variants.back(), Arch{}, stream, kTags), at_least);
}

TEST(RefVariants, Embed) { check_last(catalog().embed, 4 * 8); }
TEST(RefVariants, Linear) { check_last(catalog().linear, 11 * 10); }
TEST(RefVariants, RmsNorm) { check_last(catalog().rms_norm, 8 * 2); }
TEST(RefVariants, SiluMul) { check_last(catalog().silu_mul, 7 * 2); }
TEST(RefVariants, RopeAppend) { check_last(catalog().rope_append, 11 * 2); }
TEST(RefVariants, Attention) { check_last(catalog().attention, 25 * 2); }
TEST(RefVariants, Feed) { check_last(catalog().feed, 6); }
TEST(RefVariants, Deliver) { check_last(catalog().deliver, 4); }
TEST(RefVariants, Sample) { check_last(catalog().sample, 20); }

TEST(RefVariants, RefuseADeviceTheyCannotReach) {
  const auto& variant = catalog().linear.back();
  EXPECT_FALSE(variant.supports({}, {.family = Arch::Family::cuda, .version = 90}));
}

// A variant that does what the oracle does, and then one thing wrong.
template <void (*Fault)(const ops::LinearArgs&)>
ops::Variant<ops::LinearArgs> faulty_linear(ops::Facts facts = {}) {
  return {.name = "linear/faulty",
          .facts = facts,
          .supports = catalog().linear.back().supports,
          .workspace = [](const ops::LinearArgs&) { return Bytes{64}; },
          .launch = [](const ops::LinearArgs& args, void* workspace, Stream& stream) -> Status {
            RL_TRY(catalog().linear.back().launch(args, workspace, stream));
            Fault(args);
            return ok();
          }};
}

template <void (*Fault)(const ops::LinearArgs&)>
bool is_found(ops::Facts facts = {}) {
  testing::TestPartResultArray failures;
  {
    const testing::ScopedFakeTestPartResultReporter reporter(
        testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &failures);
    NullStream stream;
    check_variant(faulty_linear<Fault>(facts), Arch{}, stream, kTags);
  }
  return failures.size() > 0;
}

void none(const ops::LinearArgs&) {}
void overrun(const ops::LinearArgs& args) {
  static_cast<unsigned char*>(args.out.data)[args.out.elements() * size_of(args.out.dtype)] = 0;
}
void underrun(const ops::LinearArgs& args) { static_cast<unsigned char*>(args.out.data)[-1] = 0; }
void last_unwritten(const ops::LinearArgs& args) {
  store_element(args.out.dtype, args.out.data, args.out.elements() - 1, std::nan(""));
}
void different_each_time(const ops::LinearArgs& args) {
  static int calls = 0;
  if (args.out.dtype == DType::f32 && !args.accumulate) {
    auto& first = *args.out.as<float>();
    if (++calls % 2 == 0) first = std::nextafter(first, 0.0f);
  }
}
void depends_on_batch(const ops::LinearArgs& args) {
  auto* first = args.out.dtype == DType::f32 ? args.out.as<float>() : nullptr;
  if (first && args.x.shape[0] > 1) *first = std::nextafter(*first, 0.0f);
}

TEST(VariantCheck, FindsFaultsAndPassesTheSoundVariant) {
  EXPECT_FALSE(is_found<none>());
  EXPECT_TRUE(is_found<overrun>());
  EXPECT_TRUE(is_found<underrun>());
  EXPECT_TRUE(is_found<last_unwritten>());
  EXPECT_TRUE(is_found<different_each_time>({.deterministic = true}));
  EXPECT_FALSE(is_found<different_each_time>({.deterministic = false})) << "one unit is within the tolerance";
  EXPECT_TRUE(is_found<depends_on_batch>({.batch_invariant = true}));
  EXPECT_FALSE(is_found<depends_on_batch>({.batch_invariant = false}));
}

}  // namespace
}  // namespace rl::cpu::ref
