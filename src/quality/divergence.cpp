#include "quality/divergence.h"

#include <algorithm>
#include <cmath>

namespace rl::quality {
namespace {

// Largest logit, the first token that has it, and the sum of exp(logit - largest).
struct Partition {
  double largest = 0, sum = 0;
  std::size_t top = 0;
  double log_sum() const { return largest + std::log(sum); }
};

// weights: exp(logit - largest) of each, where it is wanted.
Partition partition_of(std::span<const float> logits, std::vector<double>* weights = nullptr) {
  Partition p;
  p.top = static_cast<std::size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  p.largest = static_cast<double>(logits[p.top]);
  if (weights) weights->clear();
  for (const float logit : logits) {
    const double weight = std::exp(static_cast<double>(logit) - p.largest);
    p.sum += weight;
    if (weights) weights->push_back(weight);
  }
  return p;
}

double quantile(const std::vector<double>& sorted, double share) {
  const auto rank = static_cast<std::int64_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return sorted[static_cast<std::size_t>(std::clamp<std::int64_t>(rank - 1, 0, std::ssize(sorted) - 1))];
}

// exp of a mean, with the standard error that goes with it.
Mean exp_of(const Mean& mean) { return {std::exp(mean.value), std::exp(mean.value) * mean.se}; }

template <class F>
std::vector<double> each(std::span<const TokenScore> tokens, F value) {
  std::vector<double> values;
  values.reserve(tokens.size());
  for (const TokenScore& token : tokens) values.push_back(value(token));
  return values;
}

}  // namespace

double TokenScore::dp() const { return std::exp(-nll) - std::exp(-nll_base); }

TokenScore compare_rows(std::span<const float> base, std::span<const float> candidate, TokenId token) {
  RL_CHECK(base.size() == candidate.size());
  std::vector<double> weights;
  weights.reserve(base.size());
  const Partition b = partition_of(base, &weights), c = partition_of(candidate);
  double weighted = 0;
  for (std::size_t i = 0; i < base.size(); ++i)
    if (base[i] != candidate[i])
      weighted += weights[i] * (static_cast<double>(base[i]) - static_cast<double>(candidate[i]));
  const auto at = static_cast<std::size_t>(token);
  return {.nll_base = b.log_sum() - static_cast<double>(base[at]),
          .nll = c.log_sum() - static_cast<double>(candidate[at]),
          .kld = weighted / b.sum + (c.log_sum() - b.log_sum()),
          .same_top = b.top == c.top};
}

Mean mean_of(std::span<const double> values) {
  const auto n = static_cast<double>(values.size());
  double sum = 0, squares = 0;
  for (const double value : values) sum += value;
  const double mean = sum / n;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return {mean, values.size() < 2 ? std::numeric_limits<double>::quiet_NaN() : std::sqrt(squares / (n - 1) / n)};
}

Divergence summarize(std::span<const TokenScore> tokens) {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  Divergence d{.tokens = std::ssize(tokens)};
  d.ppl_base = exp_of(mean_of(each(tokens, [](const TokenScore& t) { return t.nll_base; })));
  d.ppl = exp_of(mean_of(each(tokens, [](const TokenScore& t) { return t.nll; })));
  d.ln_ppl_ratio = mean_of(each(tokens, [](const TokenScore& t) { return t.nll - t.nll_base; }));
  d.ppl_ratio = exp_of(d.ln_ppl_ratio);
  d.dp = mean_of(each(tokens, [](const TokenScore& t) { return t.dp(); }));
  const Mean squares = mean_of(each(tokens, [](const TokenScore& t) { return t.dp() * t.dp(); }));
  d.rms_dp.value = std::sqrt(squares.value);
  d.rms_dp.se = d.rms_dp.value > 0 ? squares.se / (2 * d.rms_dp.value) : squares.se;
  d.same_top = mean_of(each(tokens, [](const TokenScore& t) { return t.same_top ? 1.0 : 0.0; }));
  std::vector<double> kld = each(tokens, [](const TokenScore& t) { return t.kld; });
  d.kld = mean_of(kld);
  std::sort(kld.begin(), kld.end());
  const auto at = [&](double share) { return kld.empty() ? kNone : quantile(kld, share); };
  d.min_kld = at(0);
  d.median_kld = at(0.5);
  d.p90_kld = at(0.9);
  d.p95_kld = at(0.95);
  d.p99_kld = at(0.99);
  d.p999_kld = at(0.999);
  d.max_kld = at(1);
  return d;
}

Result<std::vector<TokenScore>> score_both(engine::Engine& base, engine::Engine& candidate,
                                           std::span<const TokenId> ids, const Windowing& how) {
  RL_TRY(check_text(base, ids, how));
  RL_TRY(check_text(candidate, ids, how));
  RL_CHECK(base.config().vocab == candidate.config().vocab);
  const auto vocab = static_cast<std::size_t>(base.config().vocab);
  std::vector<TokenScore> scores;
  scores.reserve(ids.size());
  std::vector<float> held;  // the baseline's logits of a window
  const auto score_window = [&](std::span<const TokenId> window, std::int64_t begin) -> Status {
    const std::span<const TokenId> inputs = window.first(window.size() - 1);
    held.resize(inputs.size() * vocab);
    RL_TRY(base.score(inputs, [&](std::int64_t first, const TensorRef& logits) -> Status {
      std::copy_n(logits.as<const float>(), logits.elements(), held.begin() + first * base.config().vocab);
      return ok();
    }));
    return candidate.score(inputs, [&](std::int64_t first, const TensorRef& logits) -> Status {
      for (std::int64_t i = 0; i < logits.shape[0]; ++i) {
        const auto row = static_cast<std::size_t>(first + i);
        const TokenScore score = compare_rows(std::span(held).subspan(row * vocab, vocab),
                                              {logits.as<const float>() + i * logits.shape[1], vocab}, window[row + 1]);
        if (!std::isfinite(score.nll_base) || !std::isfinite(score.nll) || !std::isfinite(score.kld))
          return not_finite(begin + first + i);
        scores.push_back(score);
      }
      return ok();
    });
  };
  RL_TRY(for_each_window(ids, how, score_window));
  return scores;
}

}  // namespace rl::quality
