#pragma once
// An engine with a known schedule on a simulated clock: each step takes a given time and gives every running request a
// token, whose value tells request and index.

#include <deque>

#include "loadgen/load.h"

namespace rl::loadgen {

class FakeClock final : public Clock {
 public:
  Seconds now() override { return now_; }
  void wait_until(Seconds time) override { now_ = std::max(now_, time); }
  void advance(Seconds time) { now_ += time; }

 private:
  Seconds now_{1000};
};

class FakeTarget final : public Target {
 public:
  FakeTarget(FakeClock& clock, std::int64_t places, Seconds step) : clock_(clock), places_(places), step_(step) {}

  // Steps begun within [from, to) last until `to`: the server stalls.
  void stall(Seconds from, Seconds to) { stall_from_ = from, stall_to_ = to; }

  Result<RequestId> submit(engine::Request request) override {
    if (request.prompt.empty()) return Error{.kind = ErrorKind::invalid_input, .what = "an empty prompt"};
    waiting_.push_back({RequestId{next_id_++}, request.prompt[0], request.max_tokens, 0});
    return waiting_.back().id;
  }

  Result<std::vector<engine::TokenEvent>> step() override {
    while (std::ssize(running_) < places_ && !waiting_.empty()) {
      running_.push_back(waiting_.front());
      waiting_.pop_front();
    }
    most_running = std::max(most_running, std::ssize(running_));
    clock_.advance(step_);
    if (clock_.now() >= stall_from_ && clock_.now() < stall_to_) clock_.wait_until(stall_to_);
    std::vector<engine::TokenEvent> events;
    for (Running& request : running_) {
      engine::TokenEvent event{.request = request.id,
                               .token = static_cast<TokenId>(request.first * 1000 + request.done),
                               .index = request.done,
                               .time = clock_.now()};
      if (++request.done == request.tokens) event.finished = engine::FinishReason::length;
      events.push_back(event);
    }
    std::erase_if(running_, [](const Running& request) { return request.done == request.tokens; });
    return events;
  }

  bool idle() const override { return running_.empty() && waiting_.empty(); }

  std::ptrdiff_t most_running = 0;

 private:
  struct Running {
    RequestId id;
    std::int64_t first = 0, tokens = 0, done = 0;
  };
  FakeClock& clock_;
  std::int64_t places_;
  Seconds step_;
  Seconds stall_from_{0}, stall_to_{0};
  std::deque<Running> waiting_;
  std::vector<Running> running_;
  std::int64_t next_id_ = 7;
};

}  // namespace rl::loadgen
