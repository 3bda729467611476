// The fragmentation experiment: its two traces, what it finds in rows, and what it says where nothing fails.

#include "check/result.h"
#include "cpu/fast/cpu_device.h"
#include "experiments/list.h"
#include "lab/conclude.h"
#include "lab/runner.h"
#include "lab/serving_trace.h"

namespace rl::experiments {
namespace {

using record::Outcome;
using testing::ElementsAre;
using testing::HasSubstr;

class Fragmentation : public testing::Test {
 protected:
  Result<record::Experiment> run(lab::AxisOverrides axes) {
    lab::Context context{.backend = backend_,
                         .oracle = oracle_,
                         .memory = memory_,
                         .model = model_,
                         .effort = 0.1,
                         .axes = std::move(axes)};
    return lab::run_experiment(*find("fragmentation"), context);
  }
  static double value(const record::Row& row, const char* metric) { return lab::find_metric(row, metric)->value; }
  static const record::Row& row_of(const record::Experiment& record, std::string_view policy) {
    for (const record::Row& row : record.rows)
      if (*lab::find_axis(row, "policy") == policy) return row;
    RL_CHECK(false);
    return record.rows.front();
  }

  std::unique_ptr<Device> device_ = cpu::make_device({.threads = 1, .isa_limit = {}});
  ops::Backend backend_{.name = "cpu", .device = device_.get(), .catalog = {}, .probes = {}};
  ops::Oracle oracle_;
  CountingResource memory_{device_->memory()};
  model::ModelSource model_;
};

TEST_F(Fragmentation, ThePlansTraceFillsTheSpaceAndOnlyAPolicyThatKeepsEverythingFails) {
  ASSERT_VALUE(const record::Experiment record, run({{"trace", {"plan"}}}));
  EXPECT_EQ(record.state, record::State::done);
  ASSERT_EQ(record.rows.size(), 6u);
  const double space = 32.0 * (1 << 30);
  for (const record::Row& row : record.rows) {
    EXPECT_TRUE(row.validity.valid);
    EXPECT_NEAR((value(row, "requested_bytes") + value(row, "large_bytes")) / space, 0.95, 1e-6);
    // 510 of 2510 units live, 1611 at the peak.
    EXPECT_NEAR(value(row, "requested_bytes") / space, 0.95 * 510 / 2510, 1e-6);
    EXPECT_GE(value(row, "peak_reserved_bytes") / space, 0.95 * 1611 / 2510 - 1e-6);
    EXPECT_GE(value(row, "free_bytes"), value(row, "large_bytes")) << "enough is free: only fragmentation can fail it";
    const bool keeps = *lab::find_axis(row, "policy") == "caching-no-trim";
    EXPECT_EQ(value(row, "large_fits"), keeps ? 0 : 1);
    EXPECT_EQ(value(row, "largest_free_bytes") >= value(row, "large_bytes"), !keeps) << "two ways to the same answer";
    EXPECT_EQ(value(row, "failed_calls"), 0);
    EXPECT_FALSE(lab::find_metric(row, "call_time")->samples.empty());
  }
  // 1101 units were freed, each in a segment of its own, and are kept: what the device has left is 1 - 1611 units.
  EXPECT_NEAR(value(row_of(record, "caching-no-trim"), "largest_free_bytes") / space, 1 - 0.95 * 1611 / 2510, 2e-3);
  EXPECT_THAT(record.meaning, HasSubstr("caching-no-trim (plan at 32 GiB)"));
  EXPECT_EQ(record.hypotheses[0].measured_value, 1);
  EXPECT_EQ(record.hypotheses[1].measured_value, 5);
  EXPECT_EQ(record.outcome, Outcome::holds);
}

TEST_F(Fragmentation, WhereNoPolicyFailsTheVerdictIsInconclusive) {
  ASSERT_VALUE(const record::Experiment record, run({{"trace", {"plan"}}, {"policy", {"direct", "paged"}}}));
  EXPECT_EQ(record.outcome, Outcome::inconclusive);
  for (const record::Hypothesis& hypothesis : record.hypotheses) {
    EXPECT_EQ(hypothesis.outcome, Outcome::inconclusive);
    EXPECT_THAT(hypothesis.reason, HasSubstr("no policy failed"));
  }
  EXPECT_EQ(record.measured, "0 of 2 policies fail");
}

TEST_F(Fragmentation, WhereEveryPolicyFailsNoneIsPraised) {
  ASSERT_VALUE(const record::Experiment record, run({{"trace", {"plan"}}, {"policy", {"caching-no-trim"}}}));
  EXPECT_EQ(record.hypotheses[0].outcome, Outcome::holds);
  EXPECT_EQ(record.hypotheses[1].outcome, Outcome::refuted) << "no other policy places it";
  EXPECT_THAT(record.advice, HasSubstr("None of these"));
}

TEST_F(Fragmentation, TheServingTraceIsCountedAlikeForAllPolicies) {
  ASSERT_VALUE(const record::Experiment record,
               run({{"trace", {"serving"}}, {"policy", {"direct", "arena", "paged"}}, {"space", {"16"}}}));
  ASSERT_EQ(record.rows.size(), 3u);
  for (const record::Row& row : record.rows) {
    EXPECT_EQ(value(row, "requested_bytes"), value(record.rows[0], "requested_bytes"));
    EXPECT_EQ(value(row, "large_bytes"), value(record.rows[0], "large_bytes"));
  }
  EXPECT_GT(value(row_of(record, "direct"), "copied_bytes"), 0) << "a tensor that grows moves";
  EXPECT_EQ(value(row_of(record, "paged"), "copied_bytes"), 0) << "pages do not";
}

TEST_F(Fragmentation, AnUnknownPolicyOrTraceIsNamed) {
  EXPECT_EQ(run({{"policy", {"buddy"}}}).error().field, "--policy");
  EXPECT_EQ(run({{"trace", {"plan", "yours"}}}).error().found, "yours");
}

TEST(ServingTrace, IsWhatTheSchedulerDid) {
  const lab::ServingLoad load{.requests = 60,
                              .min_prompt = 8,
                              .max_prompt = 100,
                              .min_output = 2,
                              .max_output = 30,
                              .max_seqs = 16,
                              .step_tokens = 64,
                              .pages = 40,
                              .page_tokens = 16,
                              .token_bytes = 1000,
                              .seed = 3};
  ASSERT_VALUE(const alloc::Trace trace, lab::record_serving_trace(load));
  ASSERT_OK(trace.validate());
  EXPECT_GE(trace.tensors(), 60) << "one for each admission, more than one where a request was preempted";
  EXPECT_LE(trace.peak_live().count, load.pages * load.page_tokens * load.token_bytes) << "no more than the pool";
  EXPECT_GT(trace.peak_live().count, load.pages * load.page_tokens * load.token_bytes * 7 / 10) << "it was filled";
  for (const alloc::Lifetime& life : trace.lifetimes()) EXPECT_LE(life.bytes, 130 * load.token_bytes);
  std::int64_t freed = 0, grown = 0;
  for (const alloc::Event& event : trace.events) {
    freed += event.kind == alloc::Event::Kind::free;
    grown += event.kind == alloc::Event::Kind::grow;
  }
  EXPECT_GT(freed, 30);
  EXPECT_LT(freed, trace.tensors()) << "it ends in the middle of work";
  EXPECT_GT(grown, 200);
  ASSERT_VALUE(const alloc::Trace again, lab::record_serving_trace(load));
  ASSERT_EQ(again.events.size(), trace.events.size());
  for (std::size_t i = 0; i < trace.events.size(); ++i) ASSERT_EQ(again.events[i].bytes, trace.events[i].bytes);
  lab::ServingLoad other = load;
  other.seed = 4;
  ASSERT_VALUE(const alloc::Trace different, lab::record_serving_trace(other));
  EXPECT_NE(different.live().count, trace.live().count);
  other.pages = 2;
  EXPECT_EQ(lab::record_serving_trace(other).error().rule, "request.kv_pages");
}

}  // namespace
}  // namespace rl::experiments
