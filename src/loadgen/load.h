#pragma once
// The client of an engine: hands requests over as an arrival process or a policy says, and notes when each token came.
//
// Open loop: a request arrives at its scheduled time whether earlier ones are done or not, and every latency counts
// from that time, not from when the client got round to handing it over. A client that waits for answers before it
// sends (closed loop) would not see its own queue: "coordinated omission" (Tene, "How NOT to measure latency").

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/units.h"
#include "engine/engine.h"
#include "engine/request.h"

namespace rl::loadgen {

// What answers: an engine, or a test's fake.
class Target {
 public:
  virtual ~Target() = default;
  virtual Result<RequestId> submit(engine::Request request) = 0;
  virtual Result<std::vector<engine::TokenEvent>> step() = 0;  // runs until something came, or one step
  virtual bool idle() const = 0;
  virtual std::int64_t reused_tokens() const { return 0; }  // of prompts, found in a cache instead of computed; so far
  virtual bool reuses_prefixes() const { return false; }
};

class EngineTarget final : public Target {
 public:
  explicit EngineTarget(engine::Engine& engine) : engine_(engine) {}
  Result<RequestId> submit(engine::Request request) override { return engine_.submit(std::move(request)); }
  Result<std::vector<engine::TokenEvent>> step() override { return engine_.step(); }
  bool idle() const override { return engine_.idle(); }
  std::int64_t reused_tokens() const override { return engine_.reused_tokens(); }
  bool reuses_prefixes() const override { return engine_.options().prefix_reuse; }

 private:
  engine::Engine& engine_;
};

// The clock of the client, the same as that of TokenEvent::time. Tests simulate one.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Seconds now() = 0;
  virtual void wait_until(Seconds time) = 0;  // of now(); returns at once if it is past
};
Clock& real_clock();

struct Arrival {
  Seconds at;  // since the load's start; ascending
  engine::Request request;
};

// When a request that has arrived is handed to the engine.
enum class Policy {
  continuous,     // at once: the engine's scheduler batches what is there
  one_at_a_time,  // when the one before has ended
  static_batch,   // in groups, each when the group before has wholly ended; see Admission::batch
};

struct Admission {
  Policy policy = Policy::continuous;
  // static_batch: requests in a group. As in a padded batch a place is free only when the longest of the group has
  // ended: every request of it generates as many tokens as the longest, and what is beyond its own is thrown away.
  std::int64_t batch = 1;
};

// What became of a request. Times are since the load's start.
struct Served {
  Seconds scheduled, submitted;
  // How much later it was handed over than it could have been: after its time, and after the step that ran then. The
  // client's own slowness.
  Seconds client_delay;
  std::vector<Seconds> times;  // of each token
  std::vector<TokenId> tokens;
  std::optional<engine::FinishReason> finished;
  std::string refused;  // why the engine did not take it; empty: it did

  bool complete() const {  // ended as asked for
    return finished == engine::FinishReason::length || finished == engine::FinishReason::stop;
  }
};

struct Load {
  std::vector<Served> requests;  // in the order of the arrivals
  Seconds start;                 // by the clock
  Seconds duration;              // until the last request had ended
  std::int64_t thrown_away = 0;  // tokens that a padded batch generated for nobody
  // What the client itself took before each step: neither the target's time, nor waiting for an arrival.
  std::vector<Seconds> client_times;
};

// Runs the load to its end on an idle target. Errors: the target's steps. A refused request is a result.
Result<Load> run_load(Target& target, std::span<const Arrival> arrivals, const Admission& admission,
                      Clock& clock = real_clock());

}  // namespace rl::loadgen
