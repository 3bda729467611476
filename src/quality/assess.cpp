#include "quality/assess.h"

#include <algorithm>

namespace rl::quality {

std::int64_t context_needed(const AssessPlan& plan) {
  return std::max({plan.window, plan.prompt_tokens + plan.consistency.tokens, plan.layer_tokens});
}

std::int64_t seqs_needed(const AssessPlan& plan) { return std::ranges::max(plan.consistency.batches); }

Result<Assessment> assess(engine::Engine& base, engine::Engine& candidate, const Text& text, const AssessPlan& plan) {
  std::span<const TokenId> ids = text.ids;
  if (plan.tokens > 0) ids = ids.first(std::min(ids.size(), static_cast<std::size_t>(plan.tokens)));
  RL_ASSIGN(const std::vector<TokenScore> scores,
            score_both(base, candidate, ids, {.window = plan.window, .bos = text.bos, .progress = plan.progress}));
  Assessment result{.divergence = summarize(scores)};

  std::vector<TokenId> some;
  if (text.bos) some.push_back(*text.bos);
  some.insert(some.end(), ids.begin(), ids.end());
  some.resize(std::min(some.size(), static_cast<std::size_t>(plan.layer_tokens)));
  RL_ASSIGN(result.layers, layer_errors(base, candidate, some));

  ConsistencyPlan consistent = plan.consistency;
  const std::int64_t stride = std::max<std::int64_t>(std::ssize(ids) / plan.prompts, 1);
  for (std::int64_t i = 0; i < plan.prompts && i * stride < std::ssize(ids); ++i) {
    std::vector<TokenId>& prompt = consistent.prompts.emplace_back();
    if (text.bos) prompt.push_back(*text.bos);
    const auto rest = ids.subspan(static_cast<std::size_t>(i * stride));
    for (const TokenId id : rest.first(std::min(rest.size(), static_cast<std::size_t>(plan.prompt_tokens - 1))))
      prompt.push_back(id);
  }
  RL_ASSIGN(result.consistency, consistency(base, candidate, consistent));
  return result;
}

}  // namespace rl::quality
