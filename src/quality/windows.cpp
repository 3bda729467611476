#include "quality/windows.h"

namespace rl::quality {

Status check_text(const engine::Engine& engine, std::span<const TokenId> ids, const Windowing& how) {
  if (engine.synthetic())
    return Error{.kind = ErrorKind::unsupported,
                 .what = "a synthetic model has no perplexity worth the name: its weights are random numbers",
                 .rule = "quality.synthetic",
                 .hint = "use a trained model, or measure speed and memory instead"};
  const std::int64_t least = how.bos ? 1 : 2;
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
  if (const std::int64_t most = engine.options().max_context + 1; how.window < 2 || how.window > most)
    return Error{.kind = ErrorKind::invalid_input,
                 .what = "the window is out of range",
                 .rule = "quality.window",
                 .expected = fmt::format("2 to {} tokens", most),
                 .found = std::to_string(how.window)};
  return ok();
}

Status for_each_window(std::span<const TokenId> ids, const Windowing& how,
                       const std::function<Status(std::span<const TokenId> window, std::int64_t first)>& visit) {
  const auto all = static_cast<std::int64_t>(ids.size());
  const std::int64_t step = how.bos ? how.window - 1 : how.window;
  std::vector<TokenId> window;
  for (std::int64_t begin = 0; begin < all; begin += step) {
    window.clear();
    if (how.bos) window.push_back(*how.bos);
    const std::int64_t count = std::min(step, all - begin);
    window.insert(window.end(), ids.begin() + begin, ids.begin() + begin + count);
    if (window.size() < 2) break;  // a last token without anything before it
    RL_TRY(visit(window, begin + (how.bos ? 0 : 1)));
    if (how.progress) how.progress(begin + count, all);
  }
  return ok();
}

Error not_finite(std::int64_t place) {
  return {.kind = ErrorKind::internal,
          .what = fmt::format("the likelihood of token {} of the text is not a number", place),
          .rule = "quality.not_finite",
          .hint = "the model's logits overflow at this precision: try --precision fp32"};
}

}  // namespace rl::quality
