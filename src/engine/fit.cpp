#include "engine/fit.h"

#include "engine/setup.h"

namespace rl::engine {

Result<MemoryPlan> plan_memory(const model::ModelConfig& config, const ops::Backend& backend,
                               const EngineOptions& options) {
  RL_CHECK(backend.device != nullptr);
  RL_ASSIGN(const EngineOptions complete, complete_options(options, config, *backend.device));
  RL_ASSIGN(const Binder binder,
            Binder::make(backend.catalog, backend.device->info().arch, activation_type(complete.precision),
                         step_limits(complete, config), complete.force));
  RL_ASSIGN(Setup setup, plan_setup(config, backend, binder, complete));
  return std::move(setup.plan);
}

EngineOptions options_for(const model::ModelConfig& config, EngineOptions options, std::int64_t seqs,
                          std::int64_t context) {
  const std::int64_t pages = (context + ops::kPageTokens - 1) / ops::kPageTokens;
  options.max_context = context;
  options.max_seqs = seqs;
  if (options.step_tokens > 0) options.step_tokens = std::max(options.step_tokens, seqs);
  options.kv_memory = {seqs * pages * page_bytes(config, options).count};
  return options;
}

Result<Fit> largest_batch(const model::ModelConfig& config, const ops::Backend& backend, const EngineOptions& options,
                          std::int64_t context, Bytes memory) {
  const auto plan = [&](std::int64_t seqs) {
    return plan_memory(config, backend, options_for(config, options, seqs, context));
  };
  RL_ASSIGN(MemoryPlan first, plan(1));
  if (first.total() > memory) return Fit{.seqs = 0, .plan = std::move(first)};
  Fit fit{.seqs = 1, .plan = std::move(first)};
  // One plan costs a look at every shape of a step. What a sequence adds is almost constant, so the guesses are by
  // proportion, held within what is known: `fit` fits, `too_many` does not. Every third halves the rest.
  std::int64_t too_many =
      std::min<std::int64_t>(kMostSeqs, std::numeric_limits<std::int32_t>::max() / std::max<std::int64_t>(context, 1)) +
      1;
  Bytes added = page_bytes(config, options);
  added.count *= (context + ops::kPageTokens - 1) / ops::kPageTokens;
  for (int round = 1; too_many - fit.seqs > 1; ++round) {
    const std::int64_t more = round % 3 == 0
                                  ? (too_many - fit.seqs) / 2
                                  : (memory.count - fit.plan.total().count) / std::max<std::int64_t>(added.count, 1);
    const std::int64_t guess = std::clamp(fit.seqs + more, fit.seqs + 1, too_many - 1);
    RL_ASSIGN(MemoryPlan tried, plan(guess));
    if (tried.total() > memory) {
      too_many = guess;
      added.count = (tried.total().count - fit.plan.total().count + guess - fit.seqs - 1) / (guess - fit.seqs);
    } else {
      fit = {.seqs = guess, .plan = std::move(tried)};
    }
  }
  return fit;
}

}  // namespace rl::engine
