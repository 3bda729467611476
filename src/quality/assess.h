#pragma once
// Everything that is said of a candidate's quality beside a baseline's, measured in lockstep.

#include <cstdint>
#include <functional>
#include <vector>

#include "quality/consistency.h"
#include "quality/divergence.h"
#include "quality/layer_error.h"
#include "quality/text.h"

namespace rl::quality {

struct AssessPlan {
  std::int64_t window = 512;   // tokens, the begin token included
  std::int64_t tokens = 8192;  // scored at most; 0: the whole text. No window is scored twice
  std::int64_t layer_tokens = 128;
  ConsistencyPlan consistency = {.prompts = {}, .tokens = 32, .batches = {1, 4}, .repeats = 2};
  std::int64_t prompts = 8, prompt_tokens = 32;  // taken from the text, evenly spread
  std::function<void(std::int64_t done, std::int64_t all)> progress = {};
};

struct Assessment {
  Divergence divergence;
  std::vector<LayerError> layers;
  Consistency consistency;
};

// The context and sequences an engine needs to be assessed by this plan.
std::int64_t context_needed(const AssessPlan& plan);
std::int64_t seqs_needed(const AssessPlan& plan);

// The candidate may be the baseline itself: that is the noise floor. Errors: those of the parts.
Result<Assessment> assess(engine::Engine& base, engine::Engine& candidate, const Text& text, const AssessPlan& plan);

}  // namespace rl::quality
