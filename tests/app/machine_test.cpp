#include "app/machine.h"

#include <fstream>

#include "check/result.h"

namespace rl::app {
namespace {

namespace fs = std::filesystem;

class Bus : public testing::Test {
 protected:
  Bus() : folder_(fs::temp_directory_path() / fmt::format("redline-bus-{}", ::getpid())) {}
  ~Bus() override { fs::remove_all(folder_); }
  void add(const std::string& slot, const std::string& vendor, const std::string& kind) {
    fs::create_directories(folder_ / slot);
    std::ofstream(folder_ / slot / "vendor") << vendor << "\n";
    std::ofstream(folder_ / slot / "class") << kind << "\n";
  }
  fs::path folder_;
};

TEST_F(Bus, ACardIsNvidiasAndShowsOrComputes) {
  EXPECT_FALSE(nvidia_card_on_bus(folder_)) << "no bus at all";
  add("0000:00:01.0", "0x1002", "0x030000");  // another maker's
  add("0000:00:02.0", "0x10de", "0x040300");  // the sound of a card
  fs::create_directories(folder_ / "0000:00:03.0");
  EXPECT_FALSE(nvidia_card_on_bus(folder_));
  add("0000:00:04.0", "0x10de", "0x030200");
  EXPECT_TRUE(nvidia_card_on_bus(folder_));
}

TEST(UnusedCard, IsNamedInOneLineAndAMachineWithoutOneHearsNothing) {
  for (const char* rule : {"cuda.no_driver", "cuda.no_card", "cuda.not_built"})
    EXPECT_EQ(unused_card_line({.what = "x", .rule = rule}, false), "");
  EXPECT_EQ(
      unused_card_line({.what = "no NVIDIA driver on this machine",
                        .rule = "cuda.no_driver",
                        .hint = "install NVIDIA's driver, 580 or newer"},
                       true),
      "a GPU is there but cannot be used: no NVIDIA driver on this machine; install NVIDIA's driver, 580 or newer; "
      "going on with the CPU (--device cpu: without this line)");
  // Only a card can be too old, or fail.
  const std::string old = unused_card_line({.what = "the NVIDIA driver is too old for this program",
                                            .rule = "cuda.old_driver",
                                            .expected = "CUDA 13.0",
                                            .found = "CUDA 12.4"},
                                           false);
  EXPECT_THAT(old, testing::HasSubstr("too old for this program (CUDA 12.4; CUDA 13.0 is needed); `redline doctor`"));
  EXPECT_EQ(std::count(old.begin(), old.end(), '\n'), 0);
}

}  // namespace
}  // namespace rl::app
