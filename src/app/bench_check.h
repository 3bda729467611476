#pragma once
// Whether the engine that `redline bench` times computes the right logits: beside another one on the same weights, of
// plain variants, each kernel launched by itself.

#include <optional>
#include <string>

#include "engine/engine.h"
#include "ops/catalog.h"

namespace rl::app {

struct LogitsCheck {
  std::int64_t tokens = 0;
  double prefill = 0, decode = 0;  // |logits - plain| / |plain|, 2-norms over all positions
  double allowed = 0;
  std::string plain;  // the variants compared with, "attention/cuda.simple, linear/cuda.simple"
  std::string text() const;
};

// Scores random tokens through the engine, as one prefill and as decode steps, and compares the logits. Errors: the
// engine's; internal with rule "bench.logits" if they are farther from the plain ones than rounding explains.
Result<LogitsCheck> check_logits(engine::Engine& engine, const ops::Backend& backend, MemoryResource& memory,
                                 const engine::NumberFormat& format, std::uint64_t seed);

}  // namespace rl::app
