#include "cpu/fast/probes.h"

#include "base/clock.h"
#include "check/result.h"
#include "cpu/fast/cpu_device.h"

namespace rl::cpu {
namespace {

const Probe& probe(std::string_view name) {
  for (const Probe& p : probes())
    if (p.name == name) return p;
  RL_CHECK_MSG(false, "no such probe");
  __builtin_unreachable();
}

// Of the best of a few runs.
double rate(ProbeRun& run, int runs) {
  double best = 0;
  for (int i = 0; i < runs; ++i) {
    const Seconds start = monotonic_now();
    EXPECT_OK(run.run());
    best = std::max(best, run.amount() / (monotonic_now().count - start.count));
  }
  return best;
}

TEST(Probes, AreListedWithUnitAndMethod) {
  std::vector<std::string> names;
  for (const Probe& p : probes()) {
    names.emplace_back(p.name);
    EXPECT_GT(std::string_view(p.method).size(), 40U);
  }
  EXPECT_THAT(names, testing::ElementsAre("read_bandwidth", "matrix_rate_f32", "matrix_rate_bf16", "matrix_rate_int8"));
}

TEST(Probes, ReadFarMoreThanTheCachesHold) {
  const auto device = make_device({});
  ASSERT_VALUE(const auto run, probe("read_bandwidth").prepare(*device));
  const DeviceInfo& info = device->info();
  EXPECT_LE(run->amount(), static_cast<double>(info.memory.count) / 4 + 4096);
  if (info.memory.count / 4 > 8 * info.last_cache.count) {
    EXPECT_GE(run->amount(), static_cast<double>(8 * info.last_cache.count));
  }
  const double bytes_per_second = rate(*run, 2);
  EXPECT_GT(bytes_per_second, 0.2e9);  // loads that the compiler removed would show as far above the second bound
  EXPECT_LT(bytes_per_second, 5e12);
}

TEST(ReadAll, ReadsEveryByte) {
  // The sum depends on each byte: what a loop that skips some cannot give.
  for (const ProbeLoops* loops : {&kProbePortable, &kProbeAvx2, &kProbeAvx512}) {
    if (!loops->read) continue;
    const Arch arch = detect_arch();
    if ((loops == &kProbeAvx2 && !arch.avx2) || (loops == &kProbeAvx512 && !arch.avx512)) continue;
    std::vector<std::uint8_t> bytes(4096 + 77);
    EXPECT_EQ(loops->read(bytes.data(), static_cast<std::int64_t>(bytes.size())), 0U);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      bytes[i] = 1;
      ASSERT_NE(loops->read(bytes.data(), static_cast<std::int64_t>(bytes.size())), 0U) << i;
      bytes[i] = 0;
    }
  }
}

// No processor starts more than 4 vector multiply-adds of 512 bits in a cycle of 1/7 ns: more means that the compiler
// removed some. Of tiles it starts one in 16 cycles, of 16 x 16 x 32 multiply-adds in bf16 and twice as many in int8.
TEST(Probes, MultiplyAndAddAsOftenAsTheySay) {
  for (const std::string limit : {"", "avx2", "none"}) {
    const auto device = make_device({.threads = 1, .isa_limit = limit});
    const auto rate_of = [&](const char* name) {
      auto run = probe(name).prepare(*device);
      RL_CHECK(run.has_value());
      return rate(**run, 5);
    };
    const double f32 = rate_of("matrix_rate_f32"), bf16 = rate_of("matrix_rate_bf16"),
                 int8 = rate_of("matrix_rate_int8");
    const Arch& arch = device->info().arch;
    const double lanes = arch.avx512 ? 16 : arch.avx2 ? 8 : 4;
    EXPECT_GT(f32, 1e8) << limit;
    EXPECT_LT(f32, 7e9 * 4 * 2 * lanes) << limit;
    EXPECT_LT(bf16, arch.amx ? 7e9 * 2 * 16 * 32 : 7e9 * 4 * 4 * lanes) << limit;
    EXPECT_LT(int8, arch.amx ? 7e9 * 2 * 16 * 64 : 7e9 * 4 * 8 * lanes) << limit;
    // Which of them is faster is the processor's: Sapphire Rapids starts a bf16 product every other cycle, Zen 5 two in
    // one.
    EXPECT_GT(bf16, 1e8) << limit;
    EXPECT_GT(int8, 1e8) << limit;
  }
}

TEST(Probes, AmountsGrowWithTheThreads) {
  const auto one = make_device({.threads = 1}), two = make_device({.threads = 2});
  ASSERT_VALUE(const auto run_one, probe("matrix_rate_f32").prepare(*one));
  ASSERT_VALUE(const auto run_two, probe("matrix_rate_f32").prepare(*two));
  EXPECT_EQ(run_two->amount(), 2 * run_one->amount());
}

}  // namespace
}  // namespace rl::cpu
