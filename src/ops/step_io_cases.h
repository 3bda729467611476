#pragma once
// Cases of feed and deliver.

#include "ops/case.h"

namespace rl::ops {

struct FeedCase {
  const char* name;
  unsigned tags;
  std::int64_t ids, rest, tail, room;  // words of ids, behind them, of the tail that is there, and of the longest
  std::int64_t rows;                   // of the previous step
  std::int32_t turn = 0;
};

inline constexpr FeedCase kFeedCases[] = {
    {"decode", kQuick | kSanitize, 1, 99, 0, 16, 1},
    {"decode.other_turn", kQuick | kSanitize, 1, 99, 0, 16, 1, 1},
    {"no_rest", kQuick | kSanitize, 4, 0, 0, 0, 2},
    {"tail", kQuick | kSanitize, 3, 41, 5, 64, 3, 1},
    {"tail.full", kQuick | kSanitize, 64, 1056, 512, 512, 64},
    {"mixed", kQuick | kSanitize, 517, 2083, 37, 4096, 16},
    {"prefill", kQuick, 2048, 4160, 0, 64, 1, 1},
    {"wide", kLong, 64, 131072, 1001, 131072, 64},
};

struct DeliverCase {
  const char* name;
  unsigned tags;
  std::int64_t rows;
  std::int32_t turn = 0;
};

inline constexpr DeliverCase kDeliverCases[] = {
    {"one", kQuick | kSanitize, 1},  {"one.other_turn", kQuick | kSanitize, 1, 1},
    {"odd", kQuick | kSanitize, 33}, {"many", kQuick | kSanitize, 4096, 1},
    {"wide", kLong, 131072},
};

}  // namespace rl::ops
