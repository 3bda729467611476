#include "base/clock.h"
#include "check/result.h"
#include "cpu/fast/cpu_device.h"
#include "cpu/fast/variants.h"
#include "cpu/ref/ref.h"

namespace rl::cpu {
namespace {

TEST(DetectArch, LimitsHideWhatIsAboveThem) {
  const Arch all = detect_arch(), amx = detect_arch("amx"), bf16 = detect_arch("avx512_bf16"),
             avx512 = detect_arch("avx512"), avx2 = detect_arch("avx2"), none = detect_arch("none");
  EXPECT_EQ(amx.amx, all.amx);
  EXPECT_FALSE(bf16.amx);
  EXPECT_EQ(bf16.avx512_bf16, all.avx512_bf16);
  EXPECT_EQ(bf16.avx512_vnni, all.avx512_vnni);
  EXPECT_EQ(avx512.avx512, all.avx512);
  EXPECT_FALSE(avx512.avx512_bf16 || avx512.avx512_vnni);
  EXPECT_EQ(avx2.avx2, all.avx2);
  EXPECT_FALSE(avx2.avx512);
  EXPECT_FALSE(none.avx2);
  for (const Arch& arch : {all, amx, bf16, avx512, avx2, none}) {
    EXPECT_EQ(arch.family, Arch::Family::cpu);
    EXPECT_LE(arch.avx512_bf16, arch.avx512);
    EXPECT_LE(arch.avx512_vnni, arch.avx512);
    EXPECT_LE(arch.amx, arch.avx512);
    EXPECT_LE(arch.avx512, arch.avx2);
  }
}

TEST(DetectArchDeathTest, AnUnknownLimitIsABug) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(detect_arch("sse9"), "instruction set limit");
}

TEST(CpuDevice, DescribesTheMachine) {
  const auto device = make_device({});
  const DeviceInfo& info = device->info();
  EXPECT_EQ(info.compute_units, available_processors().cores);
  EXPECT_THAT(info.name,
              testing::EndsWith(fmt::format("{} thread{}", info.compute_units, info.compute_units == 1 ? "" : "s")));
  EXPECT_GT(info.memory, Bytes{256 << 20});
  EXPECT_GE(info.last_cache, Bytes{256 << 10});
  EXPECT_LT(info.last_cache, info.memory);
  EXPECT_FALSE(device->can_capture());

  const auto three = make_device({.threads = 3, .isa_limit = "avx2"});
  EXPECT_EQ(three->info().compute_units, 3);
  EXPECT_FALSE(three->info().arch.avx512);
  ASSERT_VALUE(const auto stream, three->make_stream());
  EXPECT_EQ(static_cast<CpuStream&>(*stream).pool().threads(), 3);
  EXPECT_FALSE(static_cast<CpuStream&>(*stream).arch().avx512);
}

TEST(CpuDevice, SharesMakeUpTheWholeAndKeepTheInstructionSet) {
  const auto device = make_device({.threads = 5, .isa_limit = "avx2"});
  for (const int count : {1, 2, 3, 5}) {
    int threads = 0;
    for (int i = 0; i < count; ++i) {
      ASSERT_VALUE(const auto share, device->make_share(i, count));
      EXPECT_GE(share->info().compute_units, 5 / count);
      EXPECT_FALSE(share->info().arch.avx512);
      ASSERT_VALUE(const auto stream, share->make_stream());
      EXPECT_EQ(static_cast<CpuStream&>(*stream).pool().threads(), share->info().compute_units);
      threads += share->info().compute_units;
    }
    EXPECT_EQ(threads, 5) << count;
  }
  const auto refused = device->make_share(0, 6);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::usage);
}

TEST(CpuStream, CopiesAtOnceAndHasNothingToCapture) {
  const auto device = make_device({.threads = 1});
  ASSERT_VALUE(const auto stream, device->make_stream());
  const int source[3] = {1, 2, 3};
  int there[3] = {}, back[3] = {};
  ASSERT_OK(stream->copy_to_device(there, source, Bytes{sizeof source}));
  ASSERT_OK(stream->copy_to_host(back, there, Bytes{sizeof source}));
  EXPECT_THAT(back, testing::ElementsAre(1, 2, 3));
  EXPECT_OK(stream->copy_to_device(nullptr, nullptr, Bytes{0}));
  EXPECT_OK(stream->synchronize());
  ASSERT_VALUE(const auto event, device->make_event());
  EXPECT_OK(stream->record(*event));
  EXPECT_TRUE(event->done());
  EXPECT_OK(event->wait());
  const Status capture = stream->begin_capture();
  ASSERT_FALSE(capture);
  EXPECT_EQ(capture.error().kind, ErrorKind::unsupported);
  EXPECT_FALSE(stream->end_capture({}));
}

TEST(CpuStream, TimedEventsTellTheTimeBetweenThem) {
  const auto device = make_device({.threads = 1});
  ASSERT_VALUE(const auto stream, device->make_stream());
  ASSERT_VALUE(const auto first, device->make_timed_event());
  ASSERT_VALUE(const auto last, device->make_timed_event());
  ASSERT_OK(stream->record(*first));
  const Seconds begin = monotonic_now();
  while (monotonic_now() == begin) {}
  ASSERT_OK(stream->record(*last));
  ASSERT_VALUE(const Seconds there, device->elapsed(*first, *last));
  ASSERT_VALUE(const Seconds back, device->elapsed(*last, *first));
  EXPECT_GT(there.count, 0);
  EXPECT_EQ(back.count, -there.count);
}

// Variants of cpu/fast first, cpu/ref's naive one last; names differ within an op.
template <class Args>
void check_list(std::span<const ops::Variant<Args>> all, std::span<const ops::Variant<Args>> ref) {
  ASSERT_FALSE(ref.empty());
  ASSERT_GE(all.size(), ref.size());
  EXPECT_STREQ(all.back().name, ref.back().name);
  std::vector<std::string> names;
  for (const auto& variant : all) names.emplace_back(variant.name);
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
}

TEST(Catalog, EndsEachListWithTheOracle) {
  const ops::Catalog &all = catalog(), &ref = ref::catalog();
  check_list(all.embed, ref.embed);
  check_list(all.rms_norm, ref.rms_norm);
  check_list(all.linear, ref.linear);
  check_list(all.rope_append, ref.rope_append);
  check_list(all.attention, ref.attention);
  check_list(all.silu_mul, ref.silu_mul);
  check_list(all.sample, ref.sample);
  EXPECT_STREQ(all.linear[0].name, linear_variants()[0].name);
  EXPECT_THAT(all.layouts, testing::ElementsAre(quant::Layout::panel64, quant::Layout::row_major));
}

}  // namespace
}  // namespace rl::cpu
