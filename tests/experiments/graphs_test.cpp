// graphs on a backend whose steps can be captured (check/late_backend.h).

#include "experiments/graphs.h"

#include <set>

#include "check/late_backend.h"
#include "experiments/fixture.h"

namespace rl::experiments {
namespace {

using record::State;

class GraphsTest : public ExperimentsTest {
 protected:
  GraphsTest() { backend_ = *late_; }
  check::LateBackend late_;
};

TEST_F(GraphsTest, EveryWayOfRunningAStepHasItsRowAndItsFigures) {
  ASSERT_VALUE(const record::Experiment record,
               run("graphs", {{"load", {"decode", "prefill", "lengths"}}, {"shape", {"given"}}, {"batch", {"1"}}}));
  EXPECT_EQ(record.state, State::done);
  std::map<std::string, std::set<std::string>> variants;  // by load
  for (const record::Row& row : record.rows) {
    ASSERT_TRUE(row.validity.valid) << row.validity.reasons[0];
    const std::string &variant = *lab::find_axis(row, "variant"), &load = *lab::find_axis(row, "load");
    variants[load].insert(variant);
    for (const char* name : {"step_time", "host_plan_per_step", "host_launch_per_step", "host_launch_least_tenth",
                             "point_peak_memory", "parameters"})
      EXPECT_GT(lab::find_metric(row, name)->value, 0) << name;
    EXPECT_LE(lab::find_metric(row, "host_launch_least_tenth")->value,
              lab::find_metric(row, "host_launch_per_step")->value);
    EXPECT_EQ(lab::find_metric(row, "capture_time") != nullptr, variant != kLaunched);
    EXPECT_FALSE(row.path.empty());
  }
  const std::set<std::string> fixed{kLaunched, kPlain, kCaptured, kInStep}, varying{kLaunched, kPadded, kAnew};
  EXPECT_EQ(variants["decode"], fixed);
  EXPECT_EQ(variants["prefill"], fixed);
  EXPECT_EQ(variants["lengths"], varying);
  EXPECT_EQ(record.comparisons.size(), 3u + 3u + 2u);
  // Each length is captured once: none comes again while its step is kept.
  for (const record::Row& row : record.rows)
    if (*lab::find_axis(row, "variant") == kAnew) {
      EXPECT_GT(lab::find_metric(row, "captures")->value, 20);
    }
  for (const record::Hypothesis& hypothesis : record.hypotheses)
    EXPECT_EQ(hypothesis.measured_value.has_value(), hypothesis.id != kManySmallKernels) << hypothesis.id;
  expect_recomputable(record);
  EXPECT_EQ(memory_.live().count, 0);
}

TEST_F(GraphsTest, ACapturedStepWithOtherTokensIsNotTimed) {
  late_.device().replays_wrong = true;
  ASSERT_VALUE(const record::Experiment record,
               run("graphs", {{"load", {"decode"}}, {"shape", {"given"}}, {"batch", {"2"}}}));
  ASSERT_EQ(record.rows.size(), 1u);
  EXPECT_FALSE(record.rows[0].validity.valid);
  EXPECT_THAT(record.rows[0].validity.reasons[0], testing::HasSubstr("give other tokens than launched ones"));
  EXPECT_TRUE(record.comparisons.empty());
}

TEST_F(GraphsTest, ALoadOfOneSequenceTakesNoBatch) {
  ASSERT_VALUE(const record::Experiment record,
               run("graphs", {{"load", {"lengths"}}, {"shape", {"given"}}, {"batch", {"2"}}}));
  ASSERT_EQ(record.rows.size(), 1u);
  EXPECT_THAT(record.rows[0].validity.reasons[0], testing::HasSubstr("is of one sequence"));
}

TEST(Lengths, EachComesOnceBeforeAnyComesAgain) {
  std::set<std::int64_t> lengths;
  for (std::int64_t i = 0; i < 480; ++i) lengths.insert(length_at(i));
  EXPECT_EQ(lengths.size(), 480u);
  EXPECT_EQ(*lengths.begin(), 33);
  EXPECT_EQ(*lengths.rbegin(), 512);
  EXPECT_EQ(length_at(480), length_at(0));
}

}  // namespace
}  // namespace rl::experiments
