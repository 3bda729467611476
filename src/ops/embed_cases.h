#pragma once
// Cases of embed; each is run with every weight format and layout.

#include "ops/case.h"

namespace rl::ops {

struct EmbedCase {
  const char* name;
  unsigned tags;
  std::int64_t tokens, vocab, hidden;
};

inline constexpr EmbedCase kEmbedCases[] = {
    {"one", kQuick | kSanitize, 1, 1, 1},
    {"odd", kQuick | kSanitize, 7, 97, 33},
    {"tile_minus_1", kQuick | kSanitize, 5, 63, 31},
    {"tile_plus_1", kQuick | kSanitize, 5, 65, 33},
    {"demo", kQuick, 19, kDemo.vocab, kDemo.hidden},
    {"llama-3.2-1b", kLong, 128, kLlama1b.vocab, kLlama1b.hidden},
};

}  // namespace rl::ops
