#pragma once
// How far a candidate's next-token distributions are from a baseline's on a text: Kullback-Leibler divergence, whether
// both think the same token likeliest, and what became of the true token's probability. Both engines score a window one
// after the other, so that no more than one window's logits are ever held. Names and formulas are llama-perplexity's.

#include <cstdint>
#include <span>
#include <vector>

#include "quality/windows.h"

namespace rl::quality {

// One scored token.
struct TokenScore {
  double nll_base = 0, nll = 0;  // -ln p of the true token
  double kld = 0;                // sum over the vocabulary of p_base * ln(p_base / p), nats
  bool same_top = false;         // the likeliest token is the same (the lowest id among equals)
  double dp() const;             // p - p_base of the true token
};
// Rows of logits over the same vocabulary; sums are double. Equal rows give a kld of exactly 0.
TokenScore compare_rows(std::span<const float> base, std::span<const float> candidate, TokenId token);

// A mean over tokens with its standard error, treating tokens as independent.
struct Mean {
  double value = 0, se = 0;
};
Mean mean_of(std::span<const double> values);

struct Divergence {
  std::int64_t tokens = 0;
  Mean ppl_base, ppl;  // exp of the mean nll; se by the delta method
  Mean ln_ppl_ratio;   // mean of nll - nll_base: paired, so its error is far below that of the two
  Mean ppl_ratio;      // exp of that
  Mean kld;            // and its quantiles (nearest rank):
  double max_kld = 0, p999_kld = 0, p99_kld = 0, p95_kld = 0, p90_kld = 0, median_kld = 0, min_kld = 0;
  Mean dp;  // change of the true token's probability
  Mean rms_dp;
  Mean same_top;  // share
};
// Errors: none; of no tokens all values are NaN.
Divergence summarize(std::span<const TokenScore> tokens);

// Scores the text with both. Both engines must be idle, have the same vocabulary and room for a window. Errors: those
// of check_text for either; internal "quality.not_finite"; the engines'.
Result<std::vector<TokenScore>> score_both(engine::Engine& base, engine::Engine& candidate,
                                           std::span<const TokenId> ids, const Windowing& how);

}  // namespace rl::quality
