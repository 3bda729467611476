#pragma once
// Cases of rms_norm; each is run with f32, bf16 and f16 output, and with codes of each type of ops/codes.h.

#include "ops/case.h"

namespace rl::ops {

struct RmsNormCase {
  const char* name;
  unsigned tags;
  std::int64_t tokens, hidden;
  std::int64_t rows = 0;  // > 0: that many rows are picked, some of them twice
  double deviation = 1;   // of x; small values make eps count
  float eps = 1e-5f;
};

inline constexpr RmsNormCase kRmsNormCases[] = {
    {"one", kQuick | kSanitize, 1, 1},
    {"odd", kQuick | kSanitize, 7, 33},
    {"below_vector", kQuick | kSanitize, 3, 15},
    {"above_vector", kQuick | kSanitize, 3, 17},
    {"picked_rows", kQuick | kSanitize, 9, 64, 4},
    {"eps_dominates", kQuick | kSanitize, 4, 48, 0, 1e-4},
    {"large_values", kQuick | kSanitize, 4, 48, 0, 1e4, 1e-6f},
    {"demo", kQuick | kSanitize, 12, kDemo.hidden},
    {"llama-3.2-1b", kQuick, 5, kLlama1b.hidden},
    {"llama-3-8b", kQuick, 3, kLlama8b.hidden, 2},
    {"llama-3-8b.prefill", kLong, 2048, kLlama8b.hidden},
};

}  // namespace rl::ops
