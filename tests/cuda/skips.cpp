// The tests that a card may skip, and why: those listed here, and those of variants for other compute capabilities
// (ruled_out()). Any other skip on a machine with a card fails the program; so does one of these that was not skipped.
// Without a card all tests skip, which says nothing.

#include <map>

#include "card.h"

namespace rl::cuda {
namespace {

const std::map<std::string, std::string>& expected_skips() {
  static const std::map<std::string, std::string> skips = {};
  return skips;
}

class Skips final : public testing::Environment {
 public:
  void TearDown() override {
    if (!list_cards()) return;
    const testing::UnitTest& all = *testing::UnitTest::GetInstance();
    for (int s = 0; s < all.total_test_suite_count(); ++s) {
      const testing::TestSuite& suite = *all.GetTestSuite(s);
      for (int t = 0; t < suite.total_test_count(); ++t) {
        const testing::TestInfo& test = *suite.GetTestInfo(t);
        if (!test.should_run()) continue;
        const std::string name = fmt::format("{}.{}", suite.name(), test.name());
        EXPECT_EQ(test.result()->Skipped(), expected_skips().contains(name) || ruled_out().contains(name))
            << name << ": see tests/cuda/skips.cpp";
      }
    }
  }
};

[[maybe_unused]] const testing::Environment* const registered = testing::AddGlobalTestEnvironment(new Skips);

}  // namespace
}  // namespace rl::cuda
