// The rules that every load is held to, against a target whose every step is known.

#include "loadgen/serve.h"

#include <gmock/gmock.h>

#include "check/result.h"
#include "loadgen/fake.h"

namespace rl::loadgen {
namespace {

constexpr Seconds kStep{0.25};

std::vector<Arrival> arrivals(std::int64_t n, std::int64_t tokens, double gap = 0) {
  std::vector<Arrival> made;
  for (std::int64_t i = 0; i < n; ++i)
    made.push_back(
        {.at = {gap * static_cast<double>(i)}, .request = {.prompt = {static_cast<TokenId>(i)}, .max_tokens = tokens}});
  return made;
}

// Reuses prefixes, and says that it did for so many tokens.
class Reusing final : public Target {
 public:
  Reusing(Target& target, std::int64_t reused) : target_(target), reused_(reused) {}
  Result<RequestId> submit(engine::Request request) override { return target_.submit(std::move(request)); }
  Result<std::vector<engine::TokenEvent>> step() override {
    ran_ = true;
    return target_.step();
  }
  bool idle() const override { return target_.idle(); }
  std::int64_t reused_tokens() const override { return ran_ ? reused_ : 0; }
  bool reuses_prefixes() const override { return true; }

 private:
  Target& target_;
  std::int64_t reused_;
  bool ran_ = false;
};

std::string rule_of(const Result<Load>& load) { return load ? "none" : load.error().rule; }

TEST(Serve, EqualPromptsAreAnErrorWhereTheyCountAsDistinctOrMayBeReused) {
  FakeClock clock;
  FakeTarget target(clock, 2, kStep);
  Reusing reusing(target, 0);
  auto load = arrivals(5, 2);
  EXPECT_EQ(rule_of(serve(reusing, load, {}, Prompts::distinct, clock)), "none");
  load[4].request.prompt = load[1].request.prompt;
  const auto refused = serve(target, load, {}, Prompts::distinct, clock);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().rule, "load.duplicate_prompts");
  EXPECT_EQ(refused.error().found, "requests 1 and 4, 1 tokens");
  EXPECT_TRUE(target.idle()) << "nothing was served";
  EXPECT_EQ(rule_of(serve(target, load, {}, Prompts::any, clock)), "none") << "each is computed";
  EXPECT_EQ(rule_of(serve(reusing, load, {}, Prompts::any, clock)), "load.duplicate_prompts");
}

TEST(Serve, ReusedTokensAndMissingOnesAreErrors) {
  FakeClock clock;
  FakeTarget target(clock, 2, kStep);
  Reusing reusing(target, 16);
  EXPECT_EQ(rule_of(serve(reusing, arrivals(2, 2), {}, Prompts::distinct, clock)), "load.warm_prefix");
  auto refused = arrivals(2, 2);
  refused[1].request.prompt.clear();
  EXPECT_EQ(rule_of(serve(target, refused, {}, Prompts::distinct, clock)), "load.truncated");
}

// A clock by which the client loses time at each look.
class Slow final : public Clock {
 public:
  Slow(FakeClock& clock, Seconds cost) : clock_(clock), cost_(cost) {}
  Seconds now() override {
    clock_.advance(cost_);
    return clock_.now();
  }
  void wait_until(Seconds time) override { clock_.wait_until(time); }

 private:
  FakeClock& clock_;
  Seconds cost_;
};

TEST(ClientBound, AQueueWhoseClientTakesMoreThanATwentiethOfTheTime) {
  FakeClock clock;
  FakeTarget target(clock, 2, kStep);
  ASSERT_VALUE(const Load quick, serve(target, arrivals(4, 20), {}, Prompts::distinct, clock));
  EXPECT_EQ(client_share(quick), 0);
  EXPECT_EQ(client_bound(quick), "");
  Slow slow(clock, {0.02});
  const auto bound = serve_timed(target, arrivals(4, 20), {}, Prompts::distinct, slow);
  ASSERT_FALSE(bound);
  EXPECT_EQ(bound.error().rule, "load.client_bound");
  EXPECT_THAT(bound.error().what, testing::HasSubstr("of the time was the client's own"));
}

TEST(ClientBound, OneInterruptionIsNotASlowClientAndWaitingIsNotItsTime) {
  Load load{.duration = {10}};
  load.client_times.assign(200, Seconds{0.001});
  load.client_times[7] = {5};
  EXPECT_EQ(client_bound(load), "") << "0.2 s of 10, without the two longest";
  load.client_times.assign(200, Seconds{0.003});
  EXPECT_NE(client_bound(load), "") << "0.6 s of 10";

  FakeClock clock;
  FakeTarget target(clock, 2, kStep);
  ASSERT_VALUE(const Load sparse, serve(target, arrivals(4, 2, 100), {}, Prompts::distinct, clock));
  EXPECT_EQ(client_share(sparse), 0);
}

TEST(ClientBound, LateHandingOverCountsWhereRequestsArriveOverTime) {
  Load load{.duration = {10}};
  for (int i = 0; i < 100; ++i) load.requests.push_back({.client_delay = {2e-3}});
  EXPECT_EQ(client_bound(load), "") << "all there at the start: the share tells";
  for (int i = 0; i < 100; ++i) load.requests[static_cast<std::size_t>(i)].scheduled = {0.1 * i};
  EXPECT_THAT(client_bound(load), testing::HasSubstr("one request in a hundred over"));
}

}  // namespace
}  // namespace rl::loadgen
