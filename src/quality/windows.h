#pragma once
// How a text is cut into windows, for everything that scores one.

#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "base/ids.h"
#include "base/result.h"
#include "engine/engine.h"

namespace rl::quality {

struct Windowing {
  std::int64_t window = 1024;  // tokens of one window, the beginning-of-text token included
  // Given: every window begins with it, and every token of the text is scored once (train_demo_model.py's way). Null:
  // the first token of each window is context only.
  std::optional<TokenId> bos;
  std::function<void(std::int64_t done, std::int64_t all)> progress;  // tokens; may be empty
};

// Errors: unsupported for a synthetic model, with the reason; invalid_input for fewer than two tokens, a window below 2
// or beyond the context, ids outside the vocabulary.
Status check_text(const engine::Engine& engine, std::span<const TokenId> ids, const Windowing& how);

// Calls visit(window, first) for each window in turn: its tokens, and the place in the text of the token that
// window[1] is. What is scored is window[1] and on.
Status for_each_window(std::span<const TokenId> ids, const Windowing& how,
                       const std::function<Status(std::span<const TokenId> window, std::int64_t first)>& visit);

// A likelihood that is not a number ends a measurement: rule "quality.not_finite". `place`: of the token in the text.
Error not_finite(std::int64_t place);

}  // namespace rl::quality
