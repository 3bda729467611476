#pragma once
// Output consistency: at which token greedy output first differs from the baseline's, over prompts, batch sizes and
// repeats.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "engine/engine.h"

namespace rl::quality {

struct ConsistencyPlan {
  std::vector<std::vector<TokenId>> prompts;
  std::int64_t tokens = 32;                 // generated per prompt; no stop tokens
  std::vector<std::int64_t> batches = {1};  // prompts submitted together, at most the engine's max_seqs
  int repeats = 1;
};

// One output compared with the baseline's, which was made alone, once.
struct Output {
  std::int64_t batch = 0;
  int repeat = 0;
  std::size_t prompt = 0;
  std::optional<std::int64_t> differs_at;  // index of the first other token; none: all equal
};

struct Consistency {
  std::vector<Output> outputs;
  double identical() const;         // share of them
  double first_difference() const;  // mean of differs_at, plan.tokens where none
  std::int64_t tokens = 0;          // plan.tokens
};

// Greedy continuations of prompts, `batch` at a time, in the prompts' order. The engine must be idle. Errors: the
// engine's; internal "quality.truncated" if one ends early.
Result<std::vector<std::vector<TokenId>>> greedy(engine::Engine& engine, std::span<const std::vector<TokenId>> prompts,
                                                 std::int64_t tokens, std::int64_t batch);

// The candidate may be the baseline itself: then it is the baseline's own floor.
Result<Consistency> consistency(engine::Engine& base, engine::Engine& candidate, const ConsistencyPlan& plan);

}  // namespace rl::quality
