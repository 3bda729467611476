#pragma once
// Cases of silu_mul; each is run in f32, bf16 and f16, and with codes of each type of ops/codes.h.

#include "ops/case.h"

namespace rl::ops {

struct SiluMulCase {
  const char* name;
  unsigned tags;
  std::int64_t tokens, ffn;
  double deviation = 1;  // of gate and up; large ones reach both ends of the sigmoid
};

inline constexpr SiluMulCase kSiluMulCases[] = {
    {"one", kQuick | kSanitize, 1, 1},
    {"odd", kQuick | kSanitize, 7, 33},
    {"below_vector", kQuick | kSanitize, 2, 15},
    {"above_vector", kQuick | kSanitize, 2, 17},
    {"wide_range", kQuick | kSanitize, 4, 100, 60},
    {"small_values", kQuick | kSanitize, 4, 100, 1e-6},
    {"demo", kQuick | kSanitize, 12, kDemo.ffn},
    {"llama-3.2-1b", kQuick, 4, kLlama1b.ffn},
    {"llama-3-8b", kQuick, 2, kLlama8b.ffn},
    {"llama-3-8b.prefill", kLong, 1024, kLlama8b.ffn},
};

}  // namespace rl::ops
