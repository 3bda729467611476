// Energy counters and power limits over a folder that looks like the kernel's. No real limit is ever touched.

#include "telemetry/energy.h"

#include <fstream>

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check/result.h"

namespace rl::telemetry {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Powercap : public testing::Test {
 protected:
  Powercap() {
    std::string path = (fs::temp_directory_path() / "redline_powercap.XXXXXX").string();
    RL_CHECK(::mkdtemp(path.data()) != nullptr);
    root_ = path;
  }
  ~Powercap() override { fs::remove_all(root_); }

  void file(const std::string& path, const std::string& content) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << content << "\n";
  }
  std::string content(const std::string& path) {
    std::ifstream in(root_ / path);
    std::string line;
    std::getline(in, line);
    return line;
  }
  void package(int n, const std::string& energy, const std::string& limit = "") {
    const std::string zone = fmt::format("intel-rapl:{}/", n);
    file(zone + "name", fmt::format("package-{}", n));
    file(zone + "energy_uj", energy);
    file(zone + "max_energy_range_uj", "1000000000");
    if (limit.empty()) return;
    file(zone + "constraint_0_power_limit_uw", limit);
    file(zone + "constraint_0_time_window_us", "2000000");
  }

  fs::path root_;
};

TEST_F(Powercap, EnergyIsThatOfAllPackagesSinceTheSensorWasOpened) {
  package(0, "5000000");
  package(1, "100");
  file("intel-rapl:0:0/name", "core");
  file("intel-rapl:0:0/energy_uj", "77");
  file("intel-rapl:2/name", "psys");
  file("intel-rapl:2/energy_uj", "77");
  ASSERT_VALUE(const auto sensor, RaplSensor::open(root_));
  EXPECT_EQ(sensor->name(), "RAPL package-0, package-1") << "parts and the platform are not counted twice";
  ASSERT_VALUE(const Joules none, sensor->read());
  EXPECT_EQ(none.count, 0);
  file("intel-rapl:0/energy_uj", "8500000");
  file("intel-rapl:1/energy_uj", "500100");
  ASSERT_VALUE(const Joules some, sensor->read());
  EXPECT_DOUBLE_EQ(some.count, 4.0);
}

TEST_F(Powercap, ACounterThatWrapsGoesOn) {
  package(0, "999000000");
  ASSERT_VALUE(const auto sensor, RaplSensor::open(root_));
  file("intel-rapl:0/energy_uj", "2000000");
  ASSERT_VALUE(const Joules wrapped, sensor->read());
  EXPECT_DOUBLE_EQ(wrapped.count, 3.0);
  file("intel-rapl:0/energy_uj", "1000000");
  ASSERT_VALUE(const Joules again, sensor->read());
  EXPECT_DOUBLE_EQ(again.count, 3.0 + 999.0);
}

TEST_F(Powercap, WhatIsMissingIsNamedWithARemedy) {
  const auto absent = RaplSensor::open(root_ / "nowhere");
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().rule, "rapl.absent");
  EXPECT_EQ(absent.error().kind, ErrorKind::unsupported);
  EXPECT_THAT(absent.error().hint, HasSubstr("modprobe"));
  EXPECT_EQ(PowerLimits::open(root_).error().rule, "power_limit.absent");

  package(0, "many");
  EXPECT_EQ(RaplSensor::open(root_).error().kind, ErrorKind::io);
  EXPECT_EQ(RaplSensor::open(root_).error().found, "many");
  package(0, "5");
  EXPECT_EQ(PowerLimits::open(root_).error().rule, "power_limit.absent") << "counters without a limit, as AMD's";
}

TEST_F(Powercap, MissingPermissionIsNamedWithARemedy) {
  package(0, "5", "100000000");
  ::chmod((root_ / "intel-rapl:0/energy_uj").c_str(), 0);
  ::chmod((root_ / "intel-rapl:0/constraint_0_power_limit_uw").c_str(), 0444);
  // Root may read everything: a child without its rights looks.
  const pid_t child = ::fork();
  if (child == 0) {
    ::chmod(root_.c_str(), 0755);
    if (::geteuid() == 0 && ::setuid(65534) != 0) ::_exit(9);
    const auto sensor = RaplSensor::open(root_);
    const auto limits = PowerLimits::open(root_);
    const bool named = !sensor && sensor.error().rule == "rapl.permission" &&
                       sensor.error().hint.find("chmod a+r " + root_.string()) != std::string::npos && !limits &&
                       limits.error().rule == "power_limit.permission" &&
                       limits.error().hint.find("as root") != std::string::npos;
    ::_exit(named ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(Powercap, LimitsAreSharesOfTheOriginalAndComeBack) {
  package(0, "5", "100000000");
  package(1, "5", "80000000");
  {
    ASSERT_VALUE(const auto limits, PowerLimits::open(root_));
    EXPECT_DOUBLE_EQ(limits->original_watts(), 180);
    EXPECT_EQ(limits->window(), Seconds{2});
    ASSERT_OK(limits->set(0.5));
    EXPECT_EQ(content("intel-rapl:0/constraint_0_power_limit_uw"), "50000000");
    EXPECT_EQ(content("intel-rapl:1/constraint_0_power_limit_uw"), "40000000");
    EXPECT_DOUBLE_EQ(limits->watts(), 90);
    ASSERT_OK(limits->set(0.8));
    EXPECT_EQ(content("intel-rapl:1/constraint_0_power_limit_uw"), "64000000") << "of the original, not of the last";
  }
  EXPECT_EQ(content("intel-rapl:0/constraint_0_power_limit_uw"), "100000000");
  EXPECT_EQ(content("intel-rapl:1/constraint_0_power_limit_uw"), "80000000");
}

TEST_F(Powercap, ALimitThatSomebodyElseChangedIsLeftAndReported) {
  package(0, "5", "100000000");
  package(1, "5", "100000000");
  ASSERT_VALUE(const auto limits, PowerLimits::open(root_));
  ASSERT_OK(limits->set(0.5));
  file("intel-rapl:0/constraint_0_power_limit_uw", "70000000");
  const Status restored = limits->restore();
  ASSERT_FALSE(restored);
  EXPECT_EQ(restored.error().rule, "power_limit.changed");
  EXPECT_EQ(content("intel-rapl:0/constraint_0_power_limit_uw"), "70000000");
  EXPECT_EQ(content("intel-rapl:1/constraint_0_power_limit_uw"), "100000000") << "the other comes back";
}

TEST_F(Powercap, AFailureHalfwayRestoresTheFirst) {
  package(0, "5", "100000000");
  package(1, "5", "100000000");
  ASSERT_VALUE(const auto limits, PowerLimits::open(root_));
  fs::remove(root_ / "intel-rapl:1/constraint_0_power_limit_uw");
  fs::create_directory(root_ / "intel-rapl:1/constraint_0_power_limit_uw");  // nobody can write a number into it
  EXPECT_FALSE(limits->set(0.5));
  EXPECT_EQ(content("intel-rapl:0/constraint_0_power_limit_uw"), "100000000");
}

class PowercapSignal : public Powercap, public testing::WithParamInterface<int> {};

TEST_P(PowercapSignal, RestoresAndStillEndsTheProgram) {
  package(0, "5", "123456789");
  const pid_t child = ::fork();
  if (child == 0) {
    const auto limits = PowerLimits::open(root_);
    if (!limits || !(*limits)->set(0.5)) ::_exit(9);
    if (content("intel-rapl:0/constraint_0_power_limit_uw") != "61728395" &&
        content("intel-rapl:0/constraint_0_power_limit_uw") != "61728394")
      ::_exit(8);
    ::raise(GetParam());
    ::_exit(7);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status)) << WEXITSTATUS(status);
  EXPECT_EQ(WTERMSIG(status), GetParam());
  EXPECT_EQ(content("intel-rapl:0/constraint_0_power_limit_uw"), "123456789");
}

TEST_P(PowercapSignal, GoesOnToWhoHandledItBefore) {
  package(0, "5", "123456789");
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(GetParam(), [](int) { ::_exit(6); });
    const auto limits = PowerLimits::open(root_);
    if (!limits || !(*limits)->set(0.5)) ::_exit(9);
    ::raise(GetParam());
    ::_exit(7);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 6);
  EXPECT_EQ(content("intel-rapl:0/constraint_0_power_limit_uw"), "123456789");
}

TEST_F(Powercap, ASignalThatIsIgnoredStaysSo) {
  package(0, "5", "123456789");
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGHUP, SIG_IGN);
    auto limits = PowerLimits::open(root_);
    if (!limits || !(*limits)->set(0.5)) ::_exit(9);
    const std::string limit = content("intel-rapl:0/constraint_0_power_limit_uw");
    ::raise(SIGHUP);
    const bool kept = content("intel-rapl:0/constraint_0_power_limit_uw") == limit;
    limits->reset();
    ::_exit(kept ? 6 : 7);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 6);
  EXPECT_EQ(content("intel-rapl:0/constraint_0_power_limit_uw"), "123456789");
}

INSTANTIATE_TEST_SUITE_P(All, PowercapSignal, testing::Values(SIGINT, SIGTERM, SIGHUP, SIGABRT));

}  // namespace
}  // namespace rl::telemetry
