#include "quality/perplexity.h"

namespace rl::quality {

double Perplexity::mean_nll() const { return nll / static_cast<double>(tokens); }
double Perplexity::ppl() const { return std::exp(mean_nll()); }

double Perplexity::standard_error() const {
  if (tokens < 2) return std::numeric_limits<double>::quiet_NaN();
  const auto n = static_cast<double>(tokens);
  const double mean = mean_nll();
  const double variance = std::max(0.0, nll_squares / n - mean * mean);
  return ppl() * std::sqrt(variance / (n - 1));
}

double negative_log_likelihood(std::span<const float> logits, TokenId token) {
  const float largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - static_cast<double>(largest));
  return std::log(sum) - (static_cast<double>(logits[static_cast<std::size_t>(token)]) - static_cast<double>(largest));
}

Result<Perplexity> perplexity(engine::Engine& engine, std::span<const TokenId> ids, const Windowing& how) {
  RL_TRY(check_text(engine, ids, how));
  Perplexity result;
  RL_TRY(for_each_window(ids, how, [&](std::span<const TokenId> window, std::int64_t begin) -> Status {
    const std::span<const TokenId> inputs = window.first(window.size() - 1);
    return engine.score(inputs, [&](std::int64_t first, const TensorRef& logits) -> Status {
      const std::int64_t rows = logits.shape[0], vocab = logits.shape[1];
      for (std::int64_t i = 0; i < rows; ++i) {
        const std::span<const float> row(logits.as<const float>() + i * vocab, static_cast<std::size_t>(vocab));
        const double nll = negative_log_likelihood(row, window[static_cast<std::size_t>(first + i + 1)]);
        if (!std::isfinite(nll)) return not_finite(begin + first + i);
        result.nll += nll;
        result.nll_squares += nll * nll;
        ++result.tokens;
      }
      return ok();
    });
  }));
  return result;
}

}  // namespace rl::quality
