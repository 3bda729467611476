#pragma once
// Perplexity: exp of the mean negative log-likelihood of a text's tokens (natural logarithm).

#include <cstdint>
#include <span>

#include "quality/windows.h"

namespace rl::quality {

struct Perplexity {
  std::int64_t tokens = 0;  // scored
  double nll = 0;           // sum of -ln p over them
  double nll_squares = 0;   // sum of (ln p)^2: for the standard error
  double mean_nll() const;
  double ppl() const;  // exp(mean_nll)
  // Of ppl, treating tokens as independent: ppl times the standard error of the mean (as llama-perplexity states it).
  double standard_error() const;
};

// -ln softmax(logits)[token], summed in double.
double negative_log_likelihood(std::span<const float> logits, TokenId token);

// Scores consecutive windows of the text; each starts from an empty cache. The engine must be idle and its context at
// least one window (less one token). Errors: those of check_text; internal if a likelihood is not a number; the
// engine's.
Result<Perplexity> perplexity(engine::Engine& engine, std::span<const TokenId> ids, const Windowing& how);

}  // namespace rl::quality
