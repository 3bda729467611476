#include "lab/engine_load.h"

#include "base/checked.h"
#include "loadgen/serve.h"
#include "num/random.h"

namespace rl::lab {
namespace {

// Sequences kept decoding at about one depth.
class Decoding {
 public:
  Decoding(engine::Engine& engine, const DecodeLoad& load, std::uint64_t seed)
      : engine_(engine), load_(load), seed_(seed) {}
  ~Decoding() { cancel(); }

  // Ready to take a sample's steps within the allowed drift, with nothing of them done yet.
  Status prepare() {
    if (steps_ >= 0 && steps_ + load_.steps <= load_.drift()) return ok();
    cancel();
    for (std::int64_t s = 0; s < load_.seqs; ++s) {
      engine::Request request{
          .prompt = random_ids(std::max<std::int64_t>(load_.depth, 1), engine_.config().vocab, seed_++),
          .max_tokens = load_.lead() + load_.drift() + 2};
      RL_ASSIGN(const RequestId id, engine_.submit(std::move(request)));
      requests_.push_back(id);
    }
    // All prompts are in once each sequence has its first token.
    for (std::int64_t first = 0; first < load_.seqs;) {
      RL_ASSIGN(const auto events, engine_.step());
      for (const engine::TokenEvent& event : events) {
        RL_TRY(alive(event));
        first += event.index == 0;
      }
    }
    steps_ = 0;
    return settle();
  }

  // Exactly the sample's steps: the last of them has none queued ahead, which would run in what is timed next.
  Status run() {
    for (std::int64_t i = 0; i < load_.steps; ++i) {
      const bool last = engine_.options().run_ahead && i > 0 && i + 1 == load_.steps;
      RL_ASSIGN(const auto events, last ? engine_.settle() : engine_.step());
      if (std::ssize(events) != load_.seqs)
        return Error{.kind = ErrorKind::internal,
                     .what = "a decode step gave not one token for each sequence",
                     .expected = std::to_string(load_.seqs),
                     .found = std::to_string(events.size())};
      for (const engine::TokenEvent& event : events) RL_TRY(alive(event));
    }
    steps_ += load_.steps;
    return ok();
  }

 private:
  Status settle() {
    RL_ASSIGN(const auto events, engine_.settle());
    for (const engine::TokenEvent& event : events) RL_TRY(alive(event));
    if (!events.empty()) ++steps_;
    return ok();
  }

  static Status alive(const engine::TokenEvent& event) {
    if (event.finished)
      return Error{.kind = ErrorKind::internal,
                   .what = fmt::format("a sequence ended while it was measured ({})", name_of(*event.finished))};
    return ok();
  }

  void cancel() {
    for (const RequestId id : requests_) engine_.cancel(id);
    requests_.clear();
    while (!engine_.idle())
      if (!engine_.step()) break;
    (void)engine_.settle();
  }

  engine::Engine& engine_;
  DecodeLoad load_;
  std::uint64_t seed_;
  std::vector<RequestId> requests_;
  std::int64_t steps_ = -1;  // since all prompts were in; -1: not begun
};

}  // namespace

std::int64_t DecodeLoad::drift() const { return std::max({std::int64_t{32}, depth / 10, steps + 1}); }

std::int64_t DecodeLoad::lead() const {
  return ceil_div(seqs * std::max<std::int64_t>(depth, 1), std::max<std::int64_t>(kStepTokens - seqs, 64));
}

std::int64_t DecodeLoad::context() const { return std::max<std::int64_t>(depth, 1) + lead() + drift() + 2; }

std::vector<TokenId> random_ids(std::int64_t n, std::int64_t vocab, std::uint64_t seed, std::uint64_t stream) {
  std::vector<TokenId> ids(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i)
    ids[static_cast<std::size_t>(i)] = static_cast<TokenId>(
        num::uniform_below(seed, stream, static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(vocab)));
  return ids;
}

std::vector<engine::Request> random_requests(std::int64_t n, const RequestShape& shape, std::int64_t vocab,
                                             std::uint64_t seed) {
  std::vector<engine::Request> requests;
  for (std::int64_t i = 0; i < n; ++i)
    requests.push_back({.prompt = random_ids(shape.prompt, vocab, seed, static_cast<std::uint64_t>(i) + 1),
                        .max_tokens = shape.generated});
  return requests;
}

Status serve_all(engine::Engine& engine, const std::vector<engine::Request>& requests) {
  std::vector<loadgen::Arrival> arrivals;
  for (const engine::Request& request : requests) arrivals.push_back({.request = request});
  loadgen::EngineTarget target(engine);
  RL_TRY(loadgen::serve_timed(target, arrivals, {}));
  return ok();
}

measure::Task prefill_task(engine::Engine& engine, std::int64_t tokens, std::uint64_t seed, std::string name) {
  struct State {
    std::uint64_t seed;
    std::vector<engine::Request> next;
  };
  const auto state = std::make_shared<State>(State{.seed = seed, .next = {}});
  return {.name = std::move(name),
          .run = [&engine, state] { return serve_all(engine, state->next); },
          .prepare =
              [&engine, state, tokens] {
                state->next = {{.prompt = random_ids(tokens, engine.config().vocab, state->seed++), .max_tokens = 1}};
                return ok();
              }};
}

Result<record::Metric> measure_prefill(engine::Engine& engine, std::int64_t tokens, const measure::Plan& plan) {
  RL_ASSIGN(record::Metric time, measure::run(plan, prefill_task(engine, tokens, plan.seed, "prefill")));
  time.timing = record::Timing::end_to_end;
  return measure::rate_of(time, "prefill_throughput", "tok/s", static_cast<double>(tokens));
}

measure::Task decode_task(engine::Engine& engine, const DecodeLoad& load, std::uint64_t seed, std::string name) {
  const auto decoding = std::make_shared<Decoding>(engine, load, seed);
  return {.name = std::move(name),
          .run = [decoding] { return decoding->run(); },
          .prepare = [decoding] { return decoding->prepare(); }};
}

Result<record::Metric> measure_decode(engine::Engine& engine, const DecodeLoad& load, const measure::Plan& plan) {
  RL_ASSIGN(record::Metric time, measure::run(plan, decode_task(engine, load, plan.seed, "decode")));
  time.timing = record::Timing::end_to_end;
  return measure::rate_of(time, "decode_throughput", "tok/s", static_cast<double>(load.steps * load.seqs));
}

double prefill_flops(const model::ModelConfig& config, std::int64_t tokens) {
  const std::int64_t head = config.vocab * config.hidden;
  const std::int64_t layers = config.parameters() - head * (config.tied_head ? 1 : 2);
  return 2.0 * (static_cast<double>(layers) * static_cast<double>(tokens) + static_cast<double>(head));
}

}  // namespace rl::lab
