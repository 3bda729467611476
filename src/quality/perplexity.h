#pragma once
// Perplexity: exp of the mean negative log-likelihood of a text's tokens (natural logarithm).

#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "base/ids.h"
#include "base/result.h"
#include "engine/engine.h"

namespace rl::quality {

struct PerplexityOptions {
  std::int64_t window = 1024;  // tokens of one window, the beginning-of-text token included
  // Given: every window begins with it, and every token of the text is scored once (train_demo_model.py's way). Null:
  // the first token of each window is context only.
  std::optional<TokenId> bos;
  std::function<void(std::int64_t done, std::int64_t all)> progress;  // tokens; may be empty
};

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
// least one window (less one token). Errors: unsupported for a synthetic model, with the reason; invalid_input for
// fewer than two tokens, a window below 2 or beyond the context, ids outside the vocabulary; internal if a likelihood
// is not a number; the engine's.
Result<Perplexity> perplexity(engine::Engine& engine, std::span<const TokenId> ids, const PerplexityOptions& options);

}  // namespace rl::quality
