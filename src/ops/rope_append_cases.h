#pragma once
// Cases of rope_append; each is run in kCacheTypes.

#include "ops/case.h"

namespace rl::ops {

struct RopeAppendCase {
  const char* name;
  unsigned tags;
  std::int64_t heads, kv_heads, head_dim;
  SeqList seqs;
  bool qk_norm = false;
  std::int64_t page_tokens = 64;
  double rope_scaling = 1;  // multiplied into cos and sin, as some rope types have it
};

inline constexpr RopeAppendCase kRopeAppendCases[] = {
    {"one", kQuick | kSanitize, 1, 1, 2, {{1, 1}}},
    {"first_position", kQuick | kSanitize, 2, 1, 16, {{1, 1}}},
    {"page_borders", kQuick | kSanitize, 2, 1, 16, {{1, 64}, {1, 65}, {2, 65}, {66, 66}}},
    {"head_dim_24", kQuick | kSanitize, 3, 3, 24, {{7, 7}, {1, 40}}},
    {"head_dim_96", kQuick | kSanitize, 2, 2, 96, {{3, 20}}},
    {"head_dim_256", kQuick | kSanitize, 2, 1, 256, {{3, 67}}},
    {"qk_norm", kQuick | kSanitize, 4, 2, 32, {{5, 9}, {1, 70}}, true},
    {"mqa", kQuick | kSanitize, 8, 1, 64, {{3, 20}, {1, 21}}},
    {"mixed", kQuick | kSanitize, 4, 2, 32, {{1, 200}, {40, 40}, {1, 1}, {33, 97}}, true},
    {"small_pages", kQuick | kSanitize, 2, 1, 16, {{18, 37}, {1, 16}, {1, 17}}, false, 16},
    {"scaled", kQuick | kSanitize, 2, 1, 32, {{6, 30}}, false, 64, 1.25},
    {"beyond_fp8", kQuick | kSanitize, 2, 1, 32, {{6, 30}, {1, 70}}, false, 64, 300},
    {"demo", kQuick, kDemo.heads, kDemo.kv_heads, kDemo.head_dim, {{60, 200}, {1, 2000}}},
    {"llama-3-8b", kQuick, kLlama8b.heads, kLlama8b.kv_heads, kLlama8b.head_dim, {{5, 300}, {1, 4000}}},
    {"qwen3.prefill", kLong, 32, 8, 128, {{1024, 1024}, {1, 30000}}, true},
};

}  // namespace rl::ops
