#include "telemetry/host.h"

#include <fstream>

#include <gmock/gmock.h>
#include <unistd.h>

#include "check/result.h"
#include "record/json.h"
#include "telemetry/build_info.h"

namespace rl::telemetry {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;

// The files of a system that is not this one.
class RecordedSystem : public testing::Test {
 protected:
  RecordedSystem() {
    std::string path = (fs::temp_directory_path() / "redline_host.XXXXXX").string();
    RL_CHECK(::mkdtemp(path.data()) != nullptr);
    root_ = path;
  }
  ~RecordedSystem() override { fs::remove_all(root_); }

  void file(const std::string& path, const std::string& content) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << content;
  }
  void cache(int cpu, int index, int level, const char* type, const char* size, const char* sharers) {
    const std::string folder = fmt::format("sys/devices/system/cpu/cpu{}/cache/index{}/", cpu, index);
    file(folder + "level", fmt::format("{}\n", level));
    file(folder + "type", fmt::format("{}\n", type));
    file(folder + "size", fmt::format("{}\n", size));
    file(folder + "shared_cpu_list", fmt::format("{}\n", sharers));
  }

  fs::path root_;
};

TEST_F(RecordedSystem, IsReadFromItsFiles) {
  file("etc/os-release", "NAME=\"Ubuntu\"\nPRETTY_NAME=\"Ubuntu 24.04.1 LTS\"\n");
  file("proc/sys/kernel/osrelease", "6.8.0-45-generic\n");
  file("proc/cpuinfo",
       "processor\t: 0\nmodel name\t: AMD EPYC 9354\ncpu MHz\t\t: 2400.000\nflags\t\t: fpu sse2 avx2 avx512f "
       "avx512_vnni "
       "avx512_bf16\n\nprocessor\t: 1\nmodel name\t: AMD EPYC 9354\ncpu MHz\t\t: 3700.500\nflags\t\t: fpu\n");
  file("proc/meminfo", "MemTotal:       16333228 kB\nMemFree:         1234 kB\n");
  file("proc/loadavg", "1.65 2.40 1.37 3/102 19791\n");
  file("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "schedutil\n");
  file("proc/driver/nvidia/version",
       "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (root@builder)\nGCC "
       "version:  "
       "gcc version 13.2.0\n");
  file("proc/driver/nvidia/gpus/0000:01:00.0/information", "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 140\n");
  file("proc/driver/nvidia/gpus/0000:02:00.0/information", "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 141\n");
  for (const int cpu : {0, 1, 2}) {
    cache(cpu, 0, 1, "Data", "48K", "0");
    cache(cpu, 1, 1, "Instruction", "32K", "0");
    cache(cpu, 2, 3, "Unified", "32768K", cpu < 2 ? "0-1" : "2-3");
  }
  const record::Environment e = read_environment(root_, {0, 1, 2});
  EXPECT_EQ(e.os, "Ubuntu 24.04.1 LTS");
  EXPECT_EQ(e.kernel, "6.8.0-45-generic");
  EXPECT_EQ(e.cpu, "AMD EPYC 9354");
  EXPECT_EQ(e.cores, 3);
  EXPECT_EQ(e.memory_bytes, 16333228LL * 1024);
  EXPECT_EQ(e.last_cache_bytes, 2 * (32LL << 20)) << "two caches, one of them shared by two processors";
  EXPECT_EQ(e.isa, "avx512_bf16 avx512_vnni avx512 avx2");
  EXPECT_EQ(e.governor, "schedutil");
  EXPECT_EQ(e.cpu_hz, 3700.5e6);
  EXPECT_EQ(e.load_before, 1.65);
  EXPECT_EQ(e.driver, "580.65.06");
  EXPECT_EQ(e.gpu, "2x NVIDIA H100 80GB HBM3");
}

TEST_F(RecordedSystem, OlderDriversAndUnlikeCardsAreNamed) {
  file("proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 2024\n");
  file("proc/driver/nvidia/gpus/0/information", "Model: NVIDIA GeForce RTX 5090\n");
  file("proc/driver/nvidia/gpus/1/information", "Model: NVIDIA L4\n");
  const record::Environment e = read_environment(root_, {0});
  EXPECT_EQ(e.driver, "535.183.01");
  EXPECT_EQ(e.gpu, "NVIDIA GeForce RTX 5090, NVIDIA L4");
}

TEST_F(RecordedSystem, WhatItDoesNotSayStaysEmpty) {
  const record::Environment e = read_environment(root_, {});
  EXPECT_EQ(e.os + e.kernel + e.cpu + e.isa + e.governor + e.gpu + e.driver, "");
  EXPECT_EQ(e.cores, 0);
  EXPECT_EQ(e.memory_bytes, 0);
  EXPECT_EQ(e.last_cache_bytes, 0);
  EXPECT_FALSE(e.cpu_hz);
  EXPECT_EQ(e.load_before, 0);
}

TEST(Environment, OfThisMachineIsFilledIn) {
  const record::Environment e = capture_environment();
  EXPECT_NE(e.os, "");
  EXPECT_NE(e.kernel, "");
  EXPECT_NE(e.cpu, "");
  EXPECT_EQ(e.cores, static_cast<int>(allowed_cpus().size()));
  EXPECT_GE(e.cores, 1);
  EXPECT_GT(e.memory_bytes, 1 << 28);
  EXPECT_EQ(e.version, build_info().version);
}

TEST(Environment, NamesTheBuild) {
  const BuildInfo build = build_info();
  EXPECT_THAT(build.version, MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+"));
  EXPECT_THAT(build.commit, MatchesRegex("unknown|[0-9a-f]{10,}( \\(modified\\))?"));
  EXPECT_THAT(build.build, MatchesRegex("[A-Za-z]+( \\([a-z,]+\\))? (g\\+\\+|clang) [0-9]+\\.[0-9]+"));
}

TEST(Scrub, ReplacesHomeUserAndHostAsWholeWords) {
  const Identity ann{.home = "/home/ann", .user = "ann", .host = "lab7.example.org"};
  EXPECT_EQ(scrub("redline run -m /home/ann/models/x", ann), "redline run -m ~/models/x");
  EXPECT_EQ(scrub("-m=/home/ann", ann), "-m=~");
  EXPECT_EQ(scrub("/home/anna/x", ann), "/home/user/x") << "another user's folder";
  EXPECT_EQ(scrub("'/home/bob' \"/Users/eve/m\"", ann), "'/home/user' \"/Users/user/m\"");
  EXPECT_EQ(scrub("ann@lab7.example.org:/data/ann/m", ann), "user@host:/data/user/m");
  EXPECT_EQ(scrub("on lab7, planned by joanna and ann_b", ann), "on host, planned by joanna and ann_b");
  EXPECT_EQ(scrub("", ann), "");
  EXPECT_EQ(scrub("/home/", ann), "/home/");
}

TEST(Scrub, NamesThatNameNobodyStay) {
  const Identity root{.home = "/srv/root", .user = "root", .host = "localhost"};
  EXPECT_EQ(scrub("/srv/root/models on localhost as root", root), "~/models on localhost as root");
  EXPECT_EQ(scrub("/srv/rootfs", root), "/srv/rootfs");
  EXPECT_EQ(scrub("/a/b", {.home = "/", .user = "", .host = ""}), "/a/b");
  EXPECT_EQ(scrub("/var/lib/me/x", {.home = "/var/lib/me/"}), "~/x");
}

TEST(Scrub, OfThisProcessLeavesNoHome) {
  const char* home = std::getenv("HOME");
  if (!home || std::string(home) == "/") GTEST_SKIP() << "no home folder";
  EXPECT_EQ(scrub(std::string(home) + "/models"), "~/models");
}

TEST(Environment, HoldsNothingPersonal) {
  record::Run run;
  run.environment = capture_environment();
  run.command = scrub(std::string("redline run -m ") + (std::getenv("HOME") ? std::getenv("HOME") : "/home/x") + "/m");
  const std::string json = record::to_json(run);
  EXPECT_THAT(json, Not(HasSubstr("/home/")));
  EXPECT_EQ(scrub(json), json) << "scrubbing the whole record finds nothing more";
}

}  // namespace
}  // namespace rl::telemetry
