#pragma once
// Cases of attention; each is run in kCacheTypes.

#include "ops/case.h"

namespace rl::ops {

struct AttentionCase {
  const char* name;
  unsigned tags;
  std::int64_t heads, kv_heads, head_dim;
  SeqList seqs;
  bool causal = true;
  std::int64_t window = 0;
  std::int64_t padding_tokens = 0;  // rows of q and out that belong to no sequence: neither read nor written
  bool strided_q = false;           // q lies in a wider buffer, as in [tokens, q | k | v]
  std::int64_t page_tokens = 64;
  double q_deviation = 1;         // scores deviate as much; 8 and more make softmax pick few keys
  std::int64_t check_tokens = 0;  // how many the oracle computes; 0: all
};

// One step of a model's layer.
constexpr AttentionCase of_model(const char* name, unsigned tags, const ModelShape& model, const SeqList& seqs,
                                 std::int64_t check_tokens = 0, std::int64_t window = 0) {
  return {.name = name,
          .tags = tags,
          .heads = model.heads,
          .kv_heads = model.kv_heads,
          .head_dim = model.head_dim,
          .seqs = seqs,
          .window = window,
          .check_tokens = check_tokens};
}

inline constexpr AttentionCase kAttentionCases[] = {
    // One key: out is v. Short sequences, and page borders one by one.
    {"one_key", kQuick | kSanitize, 1, 1, 16, {{1, 1}}},
    {"two_keys", kQuick | kSanitize, 2, 1, 24, {{2, 2}}},
    {"page_minus_1", kQuick | kSanitize, 2, 2, 16, {{63, 63}}},
    {"page", kQuick | kSanitize, 2, 2, 16, {{64, 64}}},
    {"page_plus_1", kQuick | kSanitize, 2, 2, 16, {{65, 65}}},
    {"decode.page_borders", kQuick | kSanitize, 2, 1, 16, {{1, 63}, {1, 64}, {1, 65}, {1, 128}, {1, 129}}},
    // Head dimensions and groups of query heads.
    {"head_dim_24", kQuick | kSanitize, 3, 3, 24, {{20, 20}, {1, 40}}},
    {"head_dim_64", kQuick | kSanitize, 4, 2, 64, {{17, 33}}},
    {"head_dim_96", kQuick | kSanitize, 2, 2, 96, {{9, 70}}},
    {"head_dim_128", kQuick | kSanitize, 4, 1, 128, {{5, 5}, {1, 90}}},
    {"head_dim_256", kQuick | kSanitize, 2, 1, 256, {{3, 67}}},
    {"head_dim_odd", kQuick | kSanitize, 1, 1, 19, {{4, 10}}},
    {"mha", kQuick | kSanitize, 8, 8, 16, {{6, 30}}},
    {"gqa_2", kQuick | kSanitize, 8, 4, 16, {{6, 30}}},
    {"gqa_4", kQuick | kSanitize, 8, 2, 16, {{6, 30}}},
    {"gqa_8", kQuick | kSanitize, 16, 2, 16, {{6, 30}}},
    {"mqa", kQuick | kSanitize, 6, 1, 32, {{3, 20}, {1, 21}}},
    // Ragged steps.
    {"prefill.ragged", kQuick, 4, 2, 32, {{1, 1}, {7, 7}, {64, 64}, {130, 130}}},
    {"decode.ragged", kQuick | kSanitize, 4, 2, 32, {{1, 1}, {1, 2}, {1, 77}, {1, 300}}},
    {"mixed", kQuick, 4, 2, 32, {{1, 200}, {40, 40}, {1, 1}, {33, 97}, {1, 64}}},
    {"chunk_after_cache", kQuick, 4, 2, 32, {{65, 321}}},
    {"empty_sequences", kQuick | kSanitize, 2, 1, 16, {{0, 0}, {3, 5}, {0, 9}, {1, 4}, {0, 0}}},
    {"padding_tokens", kQuick | kSanitize, 2, 1, 16, {{3, 5}, {1, 4}}, true, 0, 4},
    {"strided_q", kQuick | kSanitize, 4, 2, 32, {{5, 9}, {1, 70}}, true, 0, 2, true},
    {"many_sequences", kQuick, 4, 2, 16, {{{1, 9}, {1, 65}, {1, 17}}, 13}},
    // Masks.
    {"full", kQuick | kSanitize, 2, 1, 16, {{20, 20}, {5, 90}}, false},
    {"window_1", kQuick | kSanitize, 2, 1, 16, {{20, 20}, {1, 66}}, true, 1},
    {"window_24", kQuick | kSanitize, 4, 2, 24, {{90, 90}, {1, 130}, {9, 80}}, true, 24},
    {"window_page", kQuick, 2, 1, 32, {{150, 150}, {1, 200}}, true, 64},
    {"window_beyond", kQuick | kSanitize, 2, 1, 16, {{30, 30}, {1, 66}}, true, 1000},
    // Softmax far from uniform: the running maximum moves often.
    {"peaked", kQuick, 2, 2, 64, {{70, 200}, {1, 300}}, true, 0, 0, false, 64, 12},
    {"nearly_one_hot", kQuick | kSanitize, 2, 1, 32, {{9, 80}}, true, 0, 0, false, 64, 200},
    {"small_pages", kQuick | kSanitize, 2, 1, 16, {{18, 37}, {1, 16}, {1, 17}}, true, 0, 0, false, 16},
    // Blocks of queries and tiles of keys: tails of one row, windows that begin and end within tiles, pages that are
    // smaller and larger than a tile, rows that fill no tile's width.
    {"tail_row.64", kQuick, 2, 1, 64, {{129, 129}, {65, 200}}},
    {"tail_row.128", kQuick | kSanitize, 2, 1, 128, {{129, 193}, {65, 65}}},
    {"tail_row.256", kQuick | kSanitize, 1, 1, 256, {{129, 161}, {65, 65}}},
    {"window_across_tiles", kQuick, 2, 1, 128, {{200, 330}, {70, 71}}, true, 100},
    {"full.ragged", kQuick, 4, 2, 128, {{150, 150}, {33, 97}, {64, 128}}, false},
    {"pages_16.128", kQuick, 2, 1, 128, {{70, 100}, {1, 33}}, true, 0, 0, false, 16},
    {"pages_8", kQuick, 2, 1, 128, {{70, 300}}, true, 0, 0, false, 8},
    {"pages_32", kQuick, 2, 1, 64, {{70, 100}, {130, 192}}, true, 0, 0, false, 32},
    {"pages_256", kQuick, 2, 1, 128, {{150, 600}, {1, 257}}, true, 0, 0, false, 256},
    {"head_dim_80", kQuick, 2, 1, 80, {{140, 140}, {65, 129}}},
    {"long_rows", kQuick, 2, 1, 32, {{2, 8300}, {1, 12000}}},
    // Models.
    of_model("demo.prefill", kQuick, kDemo, {{192, 192}}, 24),
    of_model("demo.decode", kQuick, kDemo, {{1, 700}, {1, 41}}),
    of_model("llama-3.2-1b.decode", kQuick, kLlama1b, {{1, 1025}}),
    of_model("llama-3-8b.decode", kQuick, kLlama8b, {{1, 500}}),
    {"long_context", kQuick, 4, 1, 64, {{1, 20000}}},
    of_model("llama-3.2-1b.prefill", kLong, kLlama1b, {{2048, 2048}}, 16),
    of_model("llama-3-8b.mixed", kLong, kLlama8b, {{512, 4096}, {1, 8000}, {1, 77}, {300, 300}}, 16),
    of_model("llama-3-8b.batch", kLong, kLlama8b, {{{1, 1000}, {1, 1500}}, 16}, 8),
    of_model("mistral.window", kLong, kLlama8b, {{1024, 6000}}, 8, 4096),
    {"context_128k", kLong, 8, 1, 128, {{1, 131072}}},
};

}  // namespace rl::ops
