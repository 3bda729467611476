#include "lab/serving_trace.h"

#include <cmath>

#include "engine/scheduler.h"
#include "num/random.h"

namespace rl::lab {
namespace {

using alloc::Event;

// Notes what changed in the tensors of the running sequences since the last look.
class Recorder {
 public:
  Recorder(alloc::Trace& trace, std::int64_t token_bytes) : trace_(trace), token_bytes_(token_bytes) {}

  void look(const engine::Scheduler& scheduler) {
    ++looks_;
    for (const auto& sequence : scheduler.sequences()) {
      const auto [known, added] = tensors_.try_emplace(sequence->id.value);
      Tensor& tensor = known->second;
      tensor.seen = looks_;
      if (added) {
        tensor.index = next_++;
        tensor.tokens = sequence->size();
        log(Event::Kind::allocate, tensor.index, tensor.tokens);
      } else if (sequence->size() > tensor.tokens) {
        tensor.tokens = sequence->size();
        log(Event::Kind::grow, tensor.index, tensor.tokens);
      }
    }
    std::erase_if(tensors_, [&](const auto& entry) {
      const Tensor& tensor = entry.second;
      if (tensor.seen == looks_) return false;
      log(Event::Kind::free, tensor.index, 0);
      return true;
    });
  }

 private:
  struct Tensor {
    std::int32_t index = 0;
    std::int64_t tokens = 0, seen = 0;
  };
  void log(Event::Kind kind, std::int32_t tensor, std::int64_t tokens) {
    trace_.events.push_back({kind, tensor, tokens * token_bytes_});
  }

  alloc::Trace& trace_;
  std::int64_t token_bytes_;
  std::map<std::int64_t, Tensor> tensors_;  // by request; ordered, so that a trace is the same on every machine
  std::int32_t next_ = 0;
  std::int64_t looks_ = 0;
};

std::int64_t log_uniform(double unit, std::int64_t low, std::int64_t high) {
  const double from = std::log(static_cast<double>(low)), to = std::log(static_cast<double>(high));
  return std::clamp(std::llround(std::exp(from + unit * (to - from))), static_cast<long long>(low),
                    static_cast<long long>(high));
}

}  // namespace

Result<alloc::Trace> record_serving_trace(const ServingLoad& load) {
  engine::PagePool pool(load.pages, load.page_tokens);
  // Pages that two sequences share would belong to neither tensor.
  engine::Scheduler scheduler({.step_tokens = load.step_tokens,
                               .max_seqs = load.max_seqs,
                               .max_context = load.max_prompt + load.max_output,
                               .prefix_reuse = false},
                              pool);
  for (std::int64_t i = 0; i < load.requests; ++i) {
    const auto draw = [&](std::uint64_t which) {
      return num::uniform(load.seed, 2 * static_cast<std::uint64_t>(i) + which);
    };
    const auto prompt = static_cast<std::size_t>(log_uniform(draw(0), load.min_prompt, load.max_prompt));
    RL_TRY(scheduler.submit({.prompt = std::vector<TokenId>(prompt),
                             .max_tokens = log_uniform(draw(1), load.min_output, load.max_output)}));
  }

  alloc::Trace trace{.name = "serving", .events = {}};
  Recorder recorder(trace, load.token_bytes);
  std::vector<engine::TokenEvent> events;
  std::vector<TokenId> drawn;
  for (std::int64_t step = 0; scheduler.waiting() > 0; ++step) {
    const Seconds now{static_cast<double>(step)};
    const auto chunks = scheduler.next(now, events);
    recorder.look(scheduler);
    drawn.clear();
    for (const engine::Chunk& chunk : chunks)
      if (chunk.samples) drawn.push_back(0);
    scheduler.complete(drawn, now, events);
    recorder.look(scheduler);
    events.clear();
  }
  return trace;
}

}  // namespace rl::lab
