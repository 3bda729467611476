#include "loadgen/load.h"

#include <unordered_map>

#include "base/clock.h"

namespace rl::loadgen {
namespace {

class RealClock final : public Clock {
 public:
  Seconds now() override { return monotonic_now(); }
  // The last stretch is spent looking: a sleep ends some 60 us late.
  void wait_until(Seconds time) override {
    constexpr Seconds kLook{200e-6};
    if (const Seconds left = time - now(); left > kLook) sleep_for(left - kLook);
    while (now() < time) {}
  }
};

class Client {
 public:
  Client(Target& target, std::span<const Arrival> arrivals, const Admission& admission, Clock& clock)
      : target_(target), arrivals_(arrivals), admission_(admission), clock_(clock) {
    load_.requests.resize(arrivals.size());
    for (std::size_t i = 0; i < arrivals.size(); ++i) load_.requests[i].scheduled = arrivals[i].at;
  }

  Result<Load> run() {
    load_.start = clock_.now();
    Seconds others;  // times since the last step that are not the client's
    for (;;) {
      others += hand_over();
      const Seconds begin = since_start();
      if (target_.idle()) {
        if (next_ == arrivals_.size()) break;
        clock_.wait_until(due());
        others += since_start() - begin;
        continue;
      }
      load_.client_times.push_back(begin - free_since_ - others);
      RL_ASSIGN(const auto events, target_.step());
      free_since_ = since_start();
      others = {};
      for (const engine::TokenEvent& event : events) take(event);
    }
    load_.duration = since_start();
    return std::move(load_);
  }

 private:
  // Of the next arrival, by the clock: it is compared with this alone, as differences of times are rounded.
  Seconds due() const { return load_.start + arrivals_[next_].at; }
  Seconds since_start() { return clock_.now() - load_.start; }

  // The time that the target took to take the requests.
  Seconds hand_over() {
    Seconds taken;
    for (std::int64_t group = 0; next_ < arrivals_.size(); ++group) {
      if (admission_.policy != Policy::continuous) {
        const std::int64_t places = admission_.policy == Policy::static_batch ? admission_.batch : 1;
        if (group == 0 ? !target_.idle() : group >= places) return taken;
        if (group == 0) begin_group(places);
      }
      if (clock_.now() < due()) return taken;
      const Seconds now = since_start();
      Served& served = load_.requests[next_];
      served.submitted = now;
      served.client_delay = now - std::max(served.scheduled, free_since_);
      engine::Request request = arrivals_[next_].request;
      if (admission_.policy == Policy::static_batch) request.max_tokens = longest_;
      if (const auto id = target_.submit(std::move(request)))
        open_[id->value] = next_;
      else
        served.refused = id.error().what;
      taken += since_start() - now;
      ++next_;
    }
    return taken;
  }

  void begin_group(std::int64_t places) {
    longest_ = 0;
    const std::size_t end = std::min(arrivals_.size(), next_ + static_cast<std::size_t>(places));
    for (std::size_t i = next_; i < end; ++i) longest_ = std::max(longest_, arrivals_[i].request.max_tokens);
  }

  void take(const engine::TokenEvent& event) {
    const auto found = open_.find(event.request.value);
    if (found == open_.end()) return;
    Served& served = load_.requests[found->second];
    const std::int64_t wanted = arrivals_[found->second].request.max_tokens;
    if (event.token >= 0) {
      if (std::ssize(served.tokens) < wanted) {
        served.tokens.push_back(event.token);
        served.times.push_back(event.time - load_.start);
        if (std::ssize(served.tokens) == wanted) served.finished = engine::FinishReason::length;
      } else {
        ++load_.thrown_away;
      }
    }
    if (!event.finished) return;
    if (std::ssize(served.tokens) < wanted) served.finished = event.finished;
    open_.erase(found);
  }

  Target& target_;
  std::span<const Arrival> arrivals_;
  Admission admission_;
  Clock& clock_;
  Load load_;
  std::unordered_map<std::int64_t, std::size_t> open_;  // request -> index
  std::size_t next_ = 0;
  std::int64_t longest_ = 0;  // tokens of the group's longest request
  Seconds free_since_;        // when the last step ended
};

}  // namespace

Clock& real_clock() {
  static RealClock clock;
  return clock;
}

Result<Load> run_load(Target& target, std::span<const Arrival> arrivals, const Admission& admission, Clock& clock) {
  RL_CHECK_MSG(target.idle(), "a load needs an idle target");
  RL_CHECK(admission.batch >= 1);
  return Client(target, arrivals, admission, clock).run();
}

}  // namespace rl::loadgen
