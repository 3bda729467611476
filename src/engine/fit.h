#pragma once
// What fits a given memory, by the memory plan: nothing is loaded, so it works for a model larger than this machine.

#include <cstdint>

#include "base/result.h"
#include "base/units.h"
#include "engine/engine.h"
#include "engine/memory_plan.h"
#include "model/config.h"
#include "ops/catalog.h"

namespace rl::engine {

// The plan of an engine with these options. Errors: those of Engine::make for options and variants.
Result<MemoryPlan> plan_memory(const model::ModelConfig& config, const ops::Backend& backend,
                               const EngineOptions& options);

// `options` for `seqs` sequences that each fill a context of `context` tokens at the same time.
EngineOptions options_for(const model::ModelConfig& config, EngineOptions options, std::int64_t seqs,
                          std::int64_t context);

struct Fit {
  std::int64_t seqs = 0;  // the most of them; 0: not even one
  MemoryPlan plan;        // of that many, of one if none fits
};

// The most sequences, each with a whole context of `context` tokens, whose plan is at most `memory`; at most
// kMostSeqs. Errors: those of plan_memory.
Result<Fit> largest_batch(const model::ModelConfig& config, const ops::Backend& backend, const EngineOptions& options,
                          std::int64_t context, Bytes memory);

}  // namespace rl::engine
