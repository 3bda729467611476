// Steps that are queued before the tokens of the one ahead of them are read: on a device that runs nothing before it
// must (late_backend.h), every request has the tokens that it has one step at a time.

#include <cstring>
#include <map>

#include "check/late_backend.h"
#include "engine/fixture.h"

namespace rl::engine {
namespace {

struct Ahead : testing::Test {
  std::optional<Golden> golden;
  std::vector<TokenId> prompt(int n) { return golden->ids(fmt::format("len{}.input_ids", n)); }
  std::vector<TokenId> greedy(int n) { return golden->ids(fmt::format("len{}.greedy_new_ids", n)); }
  void SetUp() override { ASSERT_VALUE(golden, Golden::open(folder_of("llama2"))); }

  // Greedy and drawn tokens, with and without a history, that end by length and by a stop token in the middle.
  std::vector<Request> mixed() {
    std::vector<Request> requests;
    std::uint64_t seed = 0;
    for (const int n : {64, 7, 130, 1, 64, 7}) {
      Request request{.prompt = prompt(n), .max_tokens = 20 + n % 7};
      if (++seed > 3) request.prompt.back() = static_cast<TokenId>(seed);
      if (seed % 2 == 0) request.sampling = {.temperature = 0.9f, .top_k = 40, .top_p = 0.95f, .seed = seed};
      if (seed % 3 == 0) request.sampling.repetition_penalty = 1.3f;
      requests.push_back(std::move(request));
    }
    requests[1].max_tokens = 1;
    // These two grow into a second page.
    requests[3].max_tokens = 100;
    requests[5].max_tokens = 80;
    requests[0].stop_ids = {greedy(64)[9]};
    requests[2].stop_ids = {greedy(130)[0]};
    return requests;
  }
};

// Steps of 48 tokens prefill in chunks beside the decodes; three pages do not hold all sequences, which preempt each
// other.
TEST_F(Ahead, EveryRequestHasTheTokensItHasOneStepAtATime) {
  const TestBackend plain(false);
  EngineOptions options{.precision = Precision::f32, .max_context = 256, .max_seqs = 4, .step_tokens = 48};
  ASSERT_VALUE(const auto reference, make_engine("llama2", *plain, options));
  EXPECT_FALSE(reference->options().run_ahead) << "the processor's streams are no queues";
  ASSERT_VALUE(const auto expected, run_all(*reference, mixed()));
  ASSERT_LE(expected[0].size(), 10u) << "the stop token comes in the middle";
  ASSERT_EQ(expected[2].size(), 1u);
  const std::int64_t page = reference->kv_bytes_per_token().count * 64;
  for (const unsigned seed : {0u, 1u, 2u})
    for (const bool ahead : {true, false})
      for (const bool graphs : {true, false})
        for (const std::int64_t pages : {0, 3}) {
          SCOPED_TRACE(fmt::format("seed {}, ahead {}, graphs {}, {} pages", seed, ahead, graphs, pages));
          options.run_ahead = ahead;
          options.graphs = graphs;
          options.kv_memory = {pages * page};
          const check::LateBackend backend(seed);
          ASSERT_VALUE(const auto engine, make_engine("llama2", *backend, options));
          ASSERT_VALUE(const auto tokens, run_all(*engine, mixed()));
          EXPECT_EQ(tokens, expected);
          EXPECT_EQ(engine->captured_steps() > 0, graphs);
          const HostCost& cost = engine->host_cost();
          EXPECT_EQ(cost.replays > 0, graphs);
          EXPECT_LE(cost.replays, cost.steps - cost.captures) << "a shape is launched before it is captured";
          EXPECT_LE(cost.replay.count, cost.launch.count);
          EXPECT_EQ(engine->dead_rows() > 0, ahead);
          EXPECT_EQ(engine->preemptions() > 0, pages > 0);
          // The same again on what is left in the cache.
          ASSERT_VALUE(const auto again, run_all(*engine, mixed()));
          EXPECT_EQ(again, expected);
        }
}

TEST_F(Ahead, TheDeviceNeverWaitsForTheHostAndTheHostForNoEmptyStream) {
  for (const bool ahead : {true, false}) {
    const check::LateBackend backend;
    CountingResource memory(host_memory());
    ASSERT_VALUE(
        const auto engine,
        make_engine(
            "llama2", *backend,
            {.precision = Precision::f32, .max_context = 256, .max_seqs = 2, .step_tokens = 48, .run_ahead = ahead},
            memory));
    const std::int64_t waits = engine->synchronizations(), allocations = memory.allocations();
    ASSERT_VALUE(const auto tokens, run_all(*engine, {{.prompt = prompt(130), .max_tokens = 32},
                                                      {.prompt = prompt(7), .max_tokens = 32}}));
    EXPECT_EQ(tokens[0], greedy(130));
    EXPECT_EQ(tokens[1], greedy(7));
    EXPECT_EQ(engine->synchronizations(), waits);
    EXPECT_EQ(memory.allocations(), allocations);
    // Ahead, only the last step has nothing behind it.
    if (ahead) {
      EXPECT_EQ(backend.stream().starved, 1);
    } else {
      EXPECT_EQ(backend.stream().starved, engine->host_cost().steps);
    }
    EXPECT_EQ(engine->dead_rows(), 0) << "an end by length is known in time";
  }
}

TEST_F(Ahead, ACancelledRequestGetsNoTokenMoreAndNobodyElseNotices) {
  for (int after = 0; after < 6; ++after) {
    SCOPED_TRACE(after);
    const check::LateBackend backend;
    ASSERT_VALUE(const auto engine,
                 make_engine("llama2", *backend, {.precision = Precision::f32, .max_context = 256, .max_seqs = 2}));
    ASSERT_VALUE(const RequestId gone, engine->submit({.prompt = prompt(64), .max_tokens = 32}));
    ASSERT_VALUE(const RequestId stays, engine->submit({.prompt = prompt(7), .max_tokens = 32}));
    std::map<RequestId, std::vector<TokenId>> tokens;
    std::optional<FinishReason> end;
    for (int step = 0; !engine->idle(); ++step) {
      if (step == after) engine->cancel(gone);
      ASSERT_VALUE(const auto events, engine->step());
      for (const TokenEvent& event : events) {
        if (event.request == gone && event.finished) {
          EXPECT_EQ(event.index, std::ssize(tokens[gone]));
          end = event.finished;
        }
        if (event.token < 0) continue;
        EXPECT_FALSE(event.request == gone && end) << "a token after the end";
        tokens[event.request].push_back(event.token);
      }
    }
    EXPECT_EQ(end, FinishReason::cancelled);
    EXPECT_EQ(std::ssize(tokens[gone]), after);
    const std::vector<TokenId> all = greedy(64);
    EXPECT_TRUE(std::equal(tokens[gone].begin(), tokens[gone].end(), all.begin()));
    EXPECT_EQ(tokens[stays], greedy(7));
    // What ran for nobody does not disturb what comes next.
    ASSERT_VALUE(const double difference, largest_difference(*engine, prompt(64), golden->floats("len64.logits")));
    EXPECT_LE(difference, tolerance_of("llama2"));
    ASSERT_VALUE(const auto after_it, run_all(*engine, {{.prompt = prompt(64), .max_tokens = 32}}));
    EXPECT_EQ(after_it[0], greedy(64));
  }
}

TEST_F(Ahead, ADeadlineEndsARequestThatIsAhead) {
  const check::LateBackend backend;
  ASSERT_VALUE(const auto engine,
               make_engine("llama2", *backend, {.precision = Precision::f32, .max_context = 256, .max_seqs = 2}));
  ASSERT_OK(engine->submit({.prompt = prompt(64), .max_tokens = 100, .deadline = Seconds{0}}));
  ASSERT_VALUE(const auto events, engine->step());
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].finished, FinishReason::timeout);
  EXPECT_TRUE(engine->idle());
}

TEST_F(Ahead, SettlingReturnsWhatWasQueuedAhead) {
  const check::LateBackend backend;
  ASSERT_VALUE(const auto engine,
               make_engine("llama2", *backend, {.precision = Precision::f32, .max_context = 256, .max_seqs = 2}));
  ASSERT_OK(engine->submit({.prompt = prompt(64), .max_tokens = 32}));
  std::vector<TokenId> tokens;
  const auto take = [&](const std::vector<TokenEvent>& events) {
    for (const TokenEvent& event : events) tokens.push_back(event.token);
  };
  while (!engine->idle()) {
    ASSERT_VALUE(const auto stepped, engine->step());
    EXPECT_EQ(stepped.size(), 1u);
    take(stepped);
    ASSERT_VALUE(const auto settled, engine->settle());
    EXPECT_EQ(settled.size(), engine->idle() && settled.empty() ? 0u : 1u);
    EXPECT_TRUE(backend.stream().idle());
    take(settled);
  }
  EXPECT_EQ(tokens, greedy(64));
}

// A launch that fails at any point of a step is an error of that step; the next call makes the step anew.
TEST_F(Ahead, AStepWhoseLaunchFailsIsMadeAnew) {
  for (const bool graphs : {true, false})
    for (int step = 0; step < 4; ++step)
      for (const std::int64_t launch : {1, 2, 20, 40}) {
        SCOPED_TRACE(fmt::format("graphs {}, step {}, launch {}", graphs, step, launch));
        const check::LateBackend backend;
        ASSERT_VALUE(const auto engine,
                     make_engine("llama2", *backend,
                                 {.precision = Precision::f32, .max_context = 256, .max_seqs = 2, .graphs = graphs}));
        ASSERT_OK(engine->submit({.prompt = prompt(64), .max_tokens = 32}));
        std::vector<TokenId> tokens;
        int failed = 0;
        for (int i = 0; !engine->idle(); ++i) {
          if (i == step) backend.stream().fail_in = launch;
          const auto events = engine->step();
          if (!events) {
            EXPECT_EQ(events.error().rule, "late.launch");
            ++failed;
            continue;
          }
          for (const TokenEvent& event : *events) tokens.push_back(event.token);
        }
        EXPECT_EQ(failed, 1);
        EXPECT_EQ(tokens, greedy(64));
      }
}

}  // namespace
}  // namespace rl::engine
