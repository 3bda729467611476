#include "engine/scheduler.h"

#include <deque>
#include <map>
#include <random>

#include "check/result.h"

namespace rl::engine {
namespace {

// A scheduler with a "model" that draws one fixed token, and counts.
struct Fixture {
  PagePool pool;
  Scheduler scheduler;
  std::vector<TokenEvent> events;
  Seconds now;
  TokenId next_token = 100;

  Fixture(std::int64_t pages, const SchedulerLimits& limits, std::int64_t page_tokens = 4)
      : pool(pages, page_tokens), scheduler(limits, pool) {}

  // A prompt of one token over and over: by default another one for each request.
  RequestId submit(std::int64_t prompt, std::int64_t max_tokens, std::optional<TokenId> token = {}) {
    auto id = scheduler.submit(
        {.prompt = std::vector<TokenId>(static_cast<std::size_t>(prompt), token.value_or(next_token++)),
         .max_tokens = max_tokens});
    EXPECT_OK(id);
    return id ? *id : RequestId{};
  }
  // (request, first, count) of each chunk of the step.
  std::vector<std::array<std::int64_t, 3>> step(TokenId drawn = 1) {
    std::vector<std::array<std::int64_t, 3>> chunks;
    std::vector<TokenId> tokens;
    for (const Chunk& chunk : scheduler.next(now, events)) {
      chunks.push_back({chunk.sequence->id.value, chunk.first, chunk.count});
      if (chunk.samples) tokens.push_back(drawn);
    }
    scheduler.complete(tokens, now, events);
    scheduler.check_invariants();
    return chunks;
  }
};
using Chunks = std::vector<std::array<std::int64_t, 3>>;

TEST(Scheduler, DecodesComeFirstAndPromptsFillTheStepInChunks) {
  Fixture f(100, {.step_tokens = 10, .max_seqs = 4, .max_context = 64});
  f.submit(3, 5);
  EXPECT_EQ(f.step(), (Chunks{{0, 0, 3}}));
  f.submit(12, 5);
  f.submit(4, 5);
  EXPECT_EQ(f.step(), (Chunks{{0, 3, 1}, {1, 0, 9}}));
  EXPECT_EQ(f.step(), (Chunks{{0, 4, 1}, {1, 9, 3}, {2, 0, 4}}));
  EXPECT_EQ(f.step(), (Chunks{{0, 5, 1}, {1, 12, 1}, {2, 4, 1}}));
  EXPECT_EQ(f.scheduler.running(), 3);
}

TEST(Scheduler, RequestsEndAtMaxTokensStopTokensAndTheContextsEnd) {
  Fixture f(100, {.step_tokens = 16, .max_seqs = 4, .max_context = 8});
  f.submit(3, 2);
  ASSERT_OK(f.scheduler.submit({.prompt = {7}, .max_tokens = 5, .stop_ids = {5, 1}}));
  f.submit(6, 100);
  while (!f.scheduler.idle()) f.step();
  std::map<std::int64_t, std::pair<std::int64_t, FinishReason>> ended;  // request -> tokens, reason
  for (const TokenEvent& event : f.events)
    if (event.finished) ended[event.request.value] = {event.index + 1, *event.finished};
  EXPECT_EQ(ended[0], std::pair(std::int64_t{2}, FinishReason::length));
  EXPECT_EQ(ended[1], std::pair(std::int64_t{1}, FinishReason::stop));
  EXPECT_EQ(ended[2], std::pair(std::int64_t{2}, FinishReason::length));
  EXPECT_EQ(f.pool.free(), f.pool.total());
}

TEST(Scheduler, RefusesAtSubmitWhatCanNeverRun) {
  Fixture f(3, {.step_tokens = 8, .max_seqs = 2, .max_context = 64});
  const auto rule = [&](std::int64_t prompt, std::int64_t max_tokens) {
    auto id = f.scheduler.submit(
        {.prompt = std::vector<TokenId>(static_cast<std::size_t>(prompt), 7), .max_tokens = max_tokens});
    return id ? std::string("accepted") : id.error().rule;
  };
  EXPECT_EQ(rule(0, 1), "request.empty_prompt");
  EXPECT_EQ(rule(1, 0), "request.max_tokens");
  EXPECT_EQ(rule(64, 1), "request.context");
  EXPECT_EQ(rule(4, 10), "request.kv_pages");  // 13 cached tokens, 12 fit
  EXPECT_EQ(rule(4, 9), "accepted");
  EXPECT_EQ(rule(12, 1), "accepted");
  EXPECT_EQ(rule(12, std::numeric_limits<std::int64_t>::max()), "request.kv_pages");
}

TEST(Scheduler, NobodyOvertakesTheHeadOfTheQueue) {
  Fixture f(4, {.step_tokens = 32, .max_seqs = 4, .max_context = 16});
  f.submit(8, 2);   // 2 pages and one more for its next token
  f.submit(12, 1);  // needs 3 pages: waits
  f.submit(1, 1);   // would fit, and waits its turn
  EXPECT_EQ(f.step(), (Chunks{{0, 0, 8}}));
  EXPECT_EQ(f.scheduler.waiting(), 2);
  EXPECT_EQ(f.step(), (Chunks{{0, 8, 1}}));
  EXPECT_EQ(f.step(), (Chunks{{1, 0, 12}, {2, 0, 1}}));
}

TEST(Scheduler, CancelTakesEffectBeforeTheNextStep) {
  Fixture f(8, {.step_tokens = 8, .max_seqs = 1, .max_context = 16});
  const RequestId running = f.submit(2, 8), waiting = f.submit(2, 8);
  f.step();
  f.scheduler.cancel(running);
  f.scheduler.cancel(waiting);
  f.scheduler.cancel(RequestId{99});
  EXPECT_FALSE(f.scheduler.idle());
  f.events.clear();
  EXPECT_TRUE(f.step().empty());
  ASSERT_EQ(f.events.size(), 2u);
  for (const TokenEvent& event : f.events) {
    EXPECT_EQ(event.finished, FinishReason::cancelled);
    EXPECT_EQ(event.token, -1);
  }
  EXPECT_TRUE(f.scheduler.idle());
  EXPECT_EQ(f.pool.free(), f.pool.total());
}

TEST(Scheduler, AFailedRowEndsItsRequestAlone) {
  Fixture f(8, {.step_tokens = 8, .max_seqs = 2, .max_context = 16});
  f.submit(2, 3);
  f.submit(2, 3);
  const auto chunks = f.scheduler.next({}, f.events);
  ASSERT_EQ(chunks.size(), 2u);
  const TokenId drawn[] = {-1, 4};
  f.scheduler.complete(drawn, {}, f.events);
  EXPECT_EQ(f.events[0].finished, FinishReason::error);
  EXPECT_FALSE(f.events[1].finished);
  f.scheduler.check_invariants();
  EXPECT_EQ(f.step(), (Chunks{{1, 2, 1}}));
}

TEST(Scheduler, WithoutPagesTheYoungestIsComputedAgainLaterAndLosesNoToken) {
  // Two sequences of 4 pages each at their end; 5 pages in all.
  Fixture f(5, {.step_tokens = 32, .max_seqs = 2, .max_context = 32});
  f.submit(6, 8);
  f.submit(6, 8);
  std::map<std::int64_t, std::int64_t> tokens, last_index;
  int guard = 0;
  while (!f.scheduler.idle() && ++guard < 100) f.step();
  EXPECT_GT(f.scheduler.preemptions(), 0);
  for (const TokenEvent& event : f.events) {
    EXPECT_EQ(event.index, tokens[event.request.value]);
    ++tokens[event.request.value];
  }
  EXPECT_EQ(tokens[0], 8);
  EXPECT_EQ(tokens[1], 8);
  // The older one never waited: its last token comes before the younger's.
  EXPECT_EQ(f.events.back().request.value, 1);
}

TEST(Scheduler, ARequestEndsAtItsDeadlineWaitingOrRunning) {
  Fixture f(8, {.step_tokens = 8, .max_seqs = 1, .max_context = 16});
  const auto submit = [&](std::optional<Seconds> deadline) {
    ASSERT_OK(f.scheduler.submit({.prompt = {7, 7}, .max_tokens = 8, .deadline = deadline}));
  };
  submit(Seconds{2});
  submit(Seconds{1});
  submit({});
  EXPECT_EQ(f.step(), (Chunks{{0, 0, 2}}));
  f.events.clear();
  f.now = {1};
  EXPECT_EQ(f.step(), (Chunks{{0, 2, 1}}));
  ASSERT_EQ(f.events.size(), 2u);
  EXPECT_EQ(f.events[0].request, RequestId{1});
  EXPECT_EQ(f.events[0].finished, FinishReason::timeout);
  f.now = {2.5};
  EXPECT_EQ(f.step(), (Chunks{{2, 0, 2}}));
  EXPECT_EQ(f.events[2].request, RequestId{0});
  EXPECT_EQ(f.events[2].finished, FinishReason::timeout);
}

TEST(Scheduler, AKnownPrefixIsNotComputedAgain) {
  Fixture f(16, {.step_tokens = 32, .max_seqs = 4, .max_context = 32});
  f.submit(9, 1, 7);
  EXPECT_EQ(f.step(), (Chunks{{0, 0, 9}}));
  f.submit(9, 1, 7);
  f.submit(8, 1, 7);  // its last token is computed in any case, and with it the page it lies in
  EXPECT_EQ(f.step(), (Chunks{{1, 8, 1}, {2, 4, 4}}));
  EXPECT_EQ(f.scheduler.reused_tokens(), 12);

  Fixture off(16, {.step_tokens = 32, .max_seqs = 4, .max_context = 32, .prefix_reuse = false});
  off.submit(9, 1, 7);
  off.step();
  off.submit(9, 1, 7);
  EXPECT_EQ(off.step(), (Chunks{{1, 0, 9}}));
}

// One step planned beyond the one that runs: tokens are not known yet, sequences end a step late.
TEST(Scheduler, AStepAheadGoesOnWithTokensThatAreNotKnownYet) {
  Fixture f(100, {.step_tokens = 10, .max_seqs = 2, .max_context = 64});
  f.submit(3, 3);
  ASSERT_EQ(f.scheduler.next({}, f.events).size(), 1u);
  const auto ahead = f.scheduler.next({}, f.events);
  ASSERT_EQ(ahead.size(), 1u);
  EXPECT_EQ(ahead[0].first, 3);
  EXPECT_EQ(ahead[0].count, 1);
  EXPECT_EQ(ahead[0].row, 0);
  EXPECT_EQ(ahead[0].sequence->tokens[3], kUnknown);
  f.scheduler.check_invariants();
  EXPECT_EQ(f.scheduler.planned(), 2);
  EXPECT_TRUE(f.events.empty());

  const TokenId first[] = {41}, second[] = {42}, third[] = {43};
  f.scheduler.complete(first, {}, f.events);
  EXPECT_EQ(ahead[0].sequence->tokens[3], 41);
  // The last token of three is planned: after it nothing is left to plan.
  ASSERT_EQ(f.scheduler.next({}, f.events).size(), 1u);
  f.scheduler.complete(second, {}, f.events);
  EXPECT_TRUE(f.scheduler.next({}, f.events).empty());
  EXPECT_EQ(f.scheduler.planned(), 1);
  EXPECT_FALSE(f.scheduler.idle());
  f.scheduler.check_invariants();
  f.scheduler.complete(third, {}, f.events);
  ASSERT_EQ(f.events.size(), 3u);
  EXPECT_EQ(f.events[2].token, 43);
  EXPECT_EQ(f.events[2].finished, FinishReason::length);
  EXPECT_TRUE(f.scheduler.idle());
  EXPECT_EQ(f.pool.free(), f.pool.total());
}

TEST(Scheduler, WhatEndsWhileItIsAheadLeavesADeadRow) {
  Fixture f(100, {.step_tokens = 10, .max_seqs = 2, .max_context = 64});
  ASSERT_OK(f.scheduler.submit({.prompt = {7, 7}, .max_tokens = 9, .stop_ids = {5}}));
  f.submit(2, 9);
  const RequestId waiting = f.submit(2, 9);
  ASSERT_EQ(f.scheduler.next({}, f.events).size(), 2u);
  ASSERT_EQ(f.scheduler.next({}, f.events).size(), 2u);
  const TokenId drawn[] = {5, 6};
  f.scheduler.complete(drawn, {}, f.events);
  EXPECT_EQ(f.events[0].finished, FinishReason::stop);
  f.scheduler.check_invariants();
  // Its place is free for the next step; what it draws in the step that runs is nobody's.
  const auto next = f.scheduler.next({}, f.events);
  ASSERT_EQ(next.size(), 2u);
  EXPECT_EQ(next[0].row, 1) << "the second row of the step ahead";
  EXPECT_EQ(next[1].sequence->id, waiting);
  f.events.clear();
  const TokenId later[] = {8, 9};
  f.scheduler.complete(later, {}, f.events);
  ASSERT_EQ(f.events.size(), 1u);
  EXPECT_EQ(f.events[0].token, 9);
  EXPECT_EQ(f.scheduler.dead_rows(), 1);
  f.scheduler.check_invariants();
}

TEST(Scheduler, AStepWithNobodyLeftIsDropped) {
  Fixture f(100, {.step_tokens = 10, .max_seqs = 2, .max_context = 64});
  const RequestId id = f.submit(2, 9);
  f.scheduler.next({}, f.events);
  f.scheduler.next({}, f.events);
  EXPECT_FALSE(f.scheduler.drop_dead());
  f.scheduler.cancel(id);
  const TokenId drawn[] = {6};
  f.scheduler.complete(drawn, {}, f.events);
  EXPECT_TRUE(f.scheduler.next({}, f.events).empty());
  ASSERT_EQ(f.events.size(), 2u);
  EXPECT_EQ(f.events[1].finished, FinishReason::cancelled);
  EXPECT_EQ(f.events[1].index, 1) << "the token of the step ahead was never known";
  EXPECT_TRUE(f.scheduler.drop_dead());
  EXPECT_EQ(f.scheduler.planned(), 0);
  EXPECT_TRUE(f.scheduler.idle());
  EXPECT_EQ(f.pool.free(), f.pool.total());
}

TEST(Scheduler, AStepThatDidNotRunIsPlannedAgain) {
  Fixture f(100, {.step_tokens = 10, .max_seqs = 2, .max_context = 64});
  f.submit(12, 9);
  f.submit(2, 9);
  for (int i = 0; i < 2; ++i) {
    const auto chunks = f.scheduler.next({}, f.events);
    ASSERT_EQ(chunks.size(), 1u);
    EXPECT_EQ(chunks[0].count, 10);
    f.scheduler.revert();
    f.scheduler.check_invariants();
  }
  f.scheduler.next({}, f.events);
  for (int i = 0; i < 2; ++i) {
    const auto chunks = f.scheduler.next({}, f.events);
    ASSERT_EQ(chunks.size(), 2u);
    EXPECT_TRUE(chunks[1].samples);
    f.scheduler.revert();
    f.scheduler.check_invariants();
    EXPECT_EQ(f.scheduler.planned(), 1);
  }
}

// Pages of sequences whose last step is planned are free for those that go on.
TEST(Scheduler, NobodyIsPreemptedForPagesThatAreNoLongerRead) {
  Fixture f(4, {.step_tokens = 32, .max_seqs = 2, .max_context = 16});
  const RequestId older = f.submit(7, 9);
  f.submit(7, 2);
  const TokenId drawn[] = {1, 1}, one[] = {1};
  ASSERT_EQ(f.scheduler.next({}, f.events).size(), 2u);
  ASSERT_EQ(f.scheduler.next({}, f.events).size(), 2u);
  f.scheduler.complete(drawn, {}, f.events);
  // The older one needs a third page, and the step with the younger one's last token has not come back.
  ASSERT_EQ(f.pool.free(), 0);
  const auto chunks = f.scheduler.next({}, f.events);
  ASSERT_EQ(chunks.size(), 1u);
  EXPECT_EQ(chunks[0].sequence->id, older);
  f.scheduler.check_invariants();
  f.scheduler.complete(drawn, {}, f.events);
  EXPECT_EQ(f.events.back().finished, FinishReason::length);
  f.scheduler.complete(one, {}, f.events);
  EXPECT_EQ(f.scheduler.preemptions(), 0);
}

// A device that knows all tokens: each place of its cache holds a hash of all tokens of its sequence up to it, and what
// a step reads is compared with what the sequence's own tokens give. Steps run as they are planned, before what they
// draw is told to the scheduler.
class FakeDevice {
 public:
  FakeDevice(const PagePool& pool)
      : pool_(pool), places_(static_cast<std::size_t>(pool.total() * pool.page_tokens()), 0) {}

  void run(const Chunk& chunk) {
    const Sequence& sequence = *chunk.sequence;
    std::vector<TokenId>& tokens = tokens_[sequence.id.value];
    for (auto t = tokens.size(); t < static_cast<std::size_t>(chunk.end()); ++t) {
      // What the device has not drawn itself it is told.
      TokenId token = sequence.tokens[t];
      if (t + 1 == static_cast<std::size_t>(chunk.end()) && chunk.row >= 0)
        token = std::max(drawn_before_[static_cast<std::size_t>(chunk.row)], 0);
      ASSERT_GE(token, 0) << "a token that nobody knows";
      tokens.push_back(token);
    }
    std::uint64_t hash = 1;
    for (std::int64_t t = 0; t < chunk.end(); ++t) {
      hash = hash * 6364136223846793005u + static_cast<std::uint64_t>(tokens[static_cast<std::size_t>(t)]) + 1;
      const std::int32_t page = sequence.pages.pages[static_cast<std::size_t>(t / pool_.page_tokens())];
      std::uint64_t& place = places_[static_cast<std::size_t>(page * pool_.page_tokens() + t % pool_.page_tokens())];
      if (t < chunk.first) {
        ASSERT_EQ(place, hash) << "token " << t << " of request " << sequence.id.value;
      } else {
        ASSERT_EQ(pool_.owners(PageId{page}), 1);
        place = hash;
      }
    }
  }
  void drew(const std::vector<TokenId>& tokens) { drawn_before_ = tokens; }

 private:
  const PagePool& pool_;
  std::vector<std::uint64_t> places_;
  std::map<std::int64_t, std::vector<TokenId>> tokens_;
  std::vector<TokenId> drawn_before_;
};

// Random requests with few pages, many of them with common prefixes: after every step the bookkeeping holds, the cache
// holds what each sequence expects to read, nobody overtakes, and every request ends with exactly one last event, its
// indices counting up from 0.
struct Outcome {
  std::int64_t steps = 0, preemptions = 0, reused = 0, timeouts = 0, dead_rows = 0;
};
void run_random_loads(int loads, bool ahead, Outcome& outcome) {
  constexpr int kRounds = 5000;
  for (unsigned seed = 1; seed <= static_cast<unsigned>(loads); ++seed) {
    std::mt19937 random(seed);
    const auto draw = [&](std::int64_t from, std::int64_t to) {
      return from + static_cast<std::int64_t>(random() % static_cast<unsigned>(to - from + 1));
    };
    Fixture f(draw(6, 20),
              {.step_tokens = draw(6, 24), .max_seqs = draw(1, 6), .max_context = 40, .prefix_reuse = seed % 4 != 0});
    FakeDevice device(f.pool);
    std::deque<std::vector<TokenId>> drawn;     // by steps that are not complete
    std::map<std::int64_t, std::int64_t> open;  // request -> tokens seen
    std::int64_t submitted = 0, ended = 0;
    RequestId youngest{-1};  // that was ever admitted
    const auto plan = [&] {
      const auto chunks = f.scheduler.next(f.now, f.events);
      RequestId last{-1};
      std::vector<TokenId> tokens;
      for (const Chunk& chunk : chunks) {
        ASSERT_GT(chunk.count, 0);
        ASSERT_LE(chunk.end(), chunk.sequence->cached);
        device.run(chunk);
        last = std::max(last, chunk.sequence->id);
        if (chunk.samples) tokens.push_back(random() % 40 == 0 ? -1 : static_cast<TokenId>(random() % 30));
      }
      if (youngest < last) {
        // Whoever came before it runs or has ended: none of them still waits for its first step.
        const auto runs_or_ended = [&](std::int64_t id) {
          const auto is = [id](RequestId request) { return request.value == id; };
          return std::ranges::any_of(chunks, is, [](const Chunk& chunk) { return chunk.sequence->id; }) ||
                 std::ranges::any_of(f.scheduler.sequences(), is, [](const auto& s) { return s->id; }) ||
                 std::ranges::any_of(f.events, is, &TokenEvent::request);
        };
        for (const auto& [id, seen] : open)
          if (RequestId{id} < last && youngest < RequestId{id}) {
            ASSERT_TRUE(runs_or_ended(id)) << "request " << last.value << " overtook " << id;
          }
        youngest = last;
      }
      f.scheduler.check_invariants();
      if (chunks.empty()) return;
      if (!tokens.empty()) device.drew(tokens);
      drawn.push_back(std::move(tokens));
    };
    for (int round = 0; round < kRounds || !f.scheduler.idle(); ++round) {
      ASSERT_LT(round, 10 * kRounds) << "the load does not drain";
      ++outcome.steps;
      f.now = {static_cast<double>(round)};
      if (round < kRounds && random() % 3 == 0) {
        // One of three beginnings, then an own end.
        std::vector<TokenId> prompt(static_cast<std::size_t>(draw(0, 16)), static_cast<TokenId>(draw(4, 6)));
        for (std::int64_t n = draw(1, 4); n > 0; --n) prompt.push_back(static_cast<TokenId>(draw(4, 20)));
        std::optional<Seconds> deadline;
        if (random() % 20 == 0) deadline = Seconds{static_cast<double>(round + draw(0, 30))};
        auto id = f.scheduler.submit(
            {.prompt = std::move(prompt), .max_tokens = draw(1, 20), .stop_ids = {3}, .deadline = deadline});
        if (id) open[id->value] = 0, ++submitted;
      }
      if (random() % 50 == 0 && !open.empty()) f.scheduler.cancel(RequestId{open.begin()->first});
      // As the engine steps: one planned, one ahead of it, the older one complete.
      if (f.scheduler.planned() == 0) plan();
      if (ahead && f.scheduler.planned() == 1) plan();
      if (testing::Test::HasFatalFailure()) return;
      if (f.scheduler.drop_dead()) drawn.pop_front();
      if (f.scheduler.planned() > 0) {
        f.scheduler.complete(drawn.front(), f.now, f.events);
        drawn.pop_front();
      } else {
        ASSERT_TRUE(f.scheduler.idle() || !f.events.empty());
      }
      if (f.scheduler.drop_dead()) drawn.pop_front();
      ASSERT_EQ(std::ssize(drawn), f.scheduler.planned());
      f.scheduler.check_invariants();
      for (const TokenEvent& event : f.events) {
        ASSERT_TRUE(open.contains(event.request.value));
        outcome.timeouts += event.finished == FinishReason::timeout;
        if (event.token >= 0) {
          ASSERT_EQ(event.index, open[event.request.value]++);
        } else {
          ASSERT_EQ(event.index, open[event.request.value]);
        }
        if (event.finished) open.erase(event.request.value), ++ended;
      }
      f.events.clear();
    }
    EXPECT_EQ(submitted, ended);
    EXPECT_GT(submitted, 1000);
    EXPECT_EQ(f.pool.free(), f.pool.total());
    outcome.preemptions += f.scheduler.preemptions();
    outcome.reused += f.scheduler.reused_tokens();
    outcome.dead_rows += f.scheduler.dead_rows();
  }
  EXPECT_GE(outcome.steps, std::int64_t{loads} * kRounds);
  EXPECT_GT(outcome.preemptions, 0);
  EXPECT_GT(outcome.reused, 0);
  EXPECT_GT(outcome.timeouts, 0);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kLoads = 5;
#else
constexpr int kLoads = 100;
#endif

TEST(Scheduler, InvariantsHoldOverHalfAMillionRandomSteps) {
  Outcome outcome;
  run_random_loads(kLoads, false, outcome);
  EXPECT_EQ(outcome.dead_rows, 0);
}

TEST(Scheduler, InvariantsHoldOverHalfAMillionRandomStepsAhead) {
  Outcome outcome;
  run_random_loads(kLoads, true, outcome);
  EXPECT_GT(outcome.dead_rows, 0);
}

}  // namespace
}  // namespace rl::engine
