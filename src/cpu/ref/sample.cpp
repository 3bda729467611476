// The steps of ops/sample.h, in its order.

#include <numeric>
#include <set>

#include "cpu/ref/ref.h"
#include "num/random.h"

namespace rl::cpu::ref {
namespace {

std::vector<float> penalised(const ops::SampleArgs& args, std::int64_t row) {
  const std::int64_t vocab = args.logits.shape[1];
  const float* logits = args.logits.as<const float>() + row * vocab;
  std::vector<float> result(logits, logits + vocab);
  const ops::SampleRow& wishes = args.row[row];
  if (wishes.repetition_penalty == 1 || !args.history) return result;
  const auto* history = args.history.as<const std::int32_t>();
  RL_CHECK(wishes.history_begin >= 0 && wishes.history_end <= args.history.shape[0]);
  std::set<std::int32_t> seen;
  for (std::int32_t i = wishes.history_begin; i < wishes.history_end; ++i) {
    const std::int32_t id = history[i];
    if (id < 0 || id >= vocab || !seen.insert(id).second) continue;
    float& l = result[static_cast<std::size_t>(id)];
    l = l > 0 ? l / wishes.repetition_penalty : l * wishes.repetition_penalty;
  }
  return result;
}

double sum_of(const std::vector<double>& weights) { return std::accumulate(weights.begin(), weights.end(), 0.0); }

// Keeps the fewest from the front whose sum reaches top_p of the whole.
void keep_top_p(std::vector<double>& weights, double top_p) {
  const double wanted = top_p * sum_of(weights);
  double sum = 0;
  std::size_t kept = 0;
  while (kept < weights.size() && (kept == 0 || sum < wanted)) sum += weights[kept++];
  weights.resize(kept);
}

TokenId sample_row(const ops::SampleArgs& args, std::int64_t row) {
  const std::vector<float> logits = penalised(args, row);
  const ops::SampleRow& wishes = args.row[row];
  if (std::any_of(logits.begin(), logits.end(), [](float l) { return std::isnan(l); })) return -1;
  if (std::none_of(logits.begin(), logits.end(), [](float l) { return std::isfinite(l); })) return -1;

  std::vector<TokenId> candidates;
  for (std::size_t id = 0; id < logits.size(); ++id)
    if (logits[id] > -std::numeric_limits<float>::infinity()) candidates.push_back(static_cast<TokenId>(id));
  const auto logit = [&](TokenId id) { return logits[static_cast<std::size_t>(id)]; };
  std::stable_sort(candidates.begin(), candidates.end(), [&](TokenId a, TokenId b) { return logit(a) > logit(b); });
  const float first = logit(candidates.front());
  if (wishes.temperature == 0) return candidates.front();

  std::vector<double> weights;
  for (const TokenId id : candidates) {
    const double below = static_cast<double>(logit(id)) - static_cast<double>(first);
    weights.push_back(logit(id) == first ? 1 : std::exp(below / static_cast<double>(wishes.temperature)));
  }
  if (wishes.top_k > 0) weights.resize(std::min(weights.size(), static_cast<std::size_t>(wishes.top_k)));
  if (wishes.top_p < 1) keep_top_p(weights, static_cast<double>(wishes.top_p));
  while (weights.back() < static_cast<double>(wishes.min_p) && weights.size() > 1) weights.pop_back();

  const double target = num::uniform(wishes.seed, wishes.counter) * sum_of(weights);
  double sum = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    sum += weights[i];
    if (sum > target) return candidates[i];
  }
  return candidates[weights.size() - 1];
}

}  // namespace

std::vector<TokenId> sample(const ops::SampleArgs& args) {
  std::vector<TokenId> tokens;
  for (std::int64_t row = 0; row < args.logits.shape[0]; ++row) tokens.push_back(sample_row(args, row));
  return tokens;
}

}  // namespace rl::cpu::ref
