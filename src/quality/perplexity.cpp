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

namespace {

Status check(const engine::Engine& engine, std::span<const TokenId> ids, const PerplexityOptions& options) {
  if (engine.synthetic())
    return Error{.kind = ErrorKind::unsupported,
                 .what = "a synthetic model has no perplexity worth the name: its weights are random numbers",
                 .rule = "quality.synthetic",
                 .hint = "use a trained model, or measure speed and memory instead"};
  const std::int64_t least = options.bos ? 1 : 2;
  if (std::ssize(ids) < least)
    return Error{.kind = ErrorKind::invalid_input,
                 .what = "too few tokens to score",
                 .rule = "quality.tokens",
                 .expected = fmt::format("at least {}", least),
                 .found = std::to_string(ids.size())};
  for (const TokenId id : ids)
    if (id < 0 || id >= engine.config().vocab)
      return Error{.kind = ErrorKind::invalid_input,
                   .what = "a token is outside the model's vocabulary",
                   .rule = "quality.token_id",
                   .expected = fmt::format("0 to {}", engine.config().vocab - 1),
                   .found = std::to_string(id)};
  // A window's last token is only scored, never computed.
  if (const std::int64_t most = engine.options().max_context + 1; options.window < 2 || options.window > most)
    return Error{.kind = ErrorKind::invalid_input,
                 .what = "the window is out of range",
                 .rule = "quality.window",
                 .expected = fmt::format("2 to {} tokens", most),
                 .found = std::to_string(options.window)};
  return ok();
}

}  // namespace

Result<Perplexity> perplexity(engine::Engine& engine, std::span<const TokenId> ids, const PerplexityOptions& options) {
  RL_TRY(check(engine, ids, options));
  Perplexity result;
  const auto all = static_cast<std::int64_t>(ids.size());
  const std::int64_t step = options.bos ? options.window - 1 : options.window;
  std::vector<TokenId> window;
  for (std::int64_t begin = 0; begin < all; begin += step) {
    window.clear();
    if (options.bos) window.push_back(*options.bos);
    const std::int64_t count = std::min(step, all - begin);
    window.insert(window.end(), ids.begin() + begin, ids.begin() + begin + count);
    if (window.size() < 2) break;  // a last token without anything before it
    const std::span<const TokenId> inputs(window.data(), window.size() - 1);
    RL_TRY(engine.score(inputs, [&](std::int64_t first, const TensorRef& logits) -> Status {
      const std::int64_t rows = logits.shape[0], vocab = logits.shape[1];
      for (std::int64_t i = 0; i < rows; ++i) {
        const std::span<const float> row(logits.as<const float>() + i * vocab, static_cast<std::size_t>(vocab));
        const double nll = negative_log_likelihood(row, window[static_cast<std::size_t>(first + i + 1)]);
        if (!std::isfinite(nll))
          return Error{.kind = ErrorKind::internal,
                       .what = fmt::format("the likelihood of token {} of the text is not a number",
                                           begin + first + i + (options.bos ? 0 : 1)),
                       .rule = "quality.not_finite",
                       .hint = "the model's logits overflow at this precision: try --precision fp32"};
        result.nll += nll;
        result.nll_squares += nll * nll;
        ++result.tokens;
      }
      return ok();
    }));
    if (options.progress) options.progress(begin + count, all);
  }
  return result;
}

}  // namespace rl::quality
