#pragma once
// feed and deliver: the two ends of a step. feed brings the step's inputs from the host's memory to the device's block;
// deliver brings the drawn tokens back. Both are launches like any other, so that a captured step holds them, and both
// know two places of the host that take turns: the host writes one while the device may still read the other.
//
// A block is words (i32): a header, the ids of the step's tokens, whatever else the step's ops read, and a tail whose
// length the header says. A word below 0 among the ids and in the tail stands for a token that the host does not know
// yet: -1 - r is the token of row r of the previous step, as `drawn` holds it (0 if that row had none).

#include <cstdint>

#include "base/result.h"
#include "tensor/tensor.h"

namespace rl::ops {

inline constexpr std::int64_t kFeedHeader = 4;  // words: turn, words of the tail, two of nothing

struct FeedArgs {
  TensorRef host[2];       // i32 [words + most of a tail]: header[0] of each is its own number
  TensorRef turn;          // i32 [1]: which of them to read; the other one afterwards
  TensorRef drawn;         // i32 [rows]
  std::int64_t words = 0;  // of a block without its tail, a multiple of 4
  std::int64_t ids = 0;    // words of ids behind the header
  TensorRef out;           // i32 [words + most of a tail]; what lies beyond the block's tail is left alone
};

struct DeliverArgs {
  TensorRef drawn;   // i32 [rows]
  TensorRef block;   // i32: the block that feed wrote, whose header says where to
  TensorRef out[2];  // i32 [rows]
};

Status validate(const FeedArgs& args);
double flops(const FeedArgs& args);
double bytes(const FeedArgs& args);  // of a block without a tail
Status validate(const DeliverArgs& args);
double flops(const DeliverArgs& args);
double bytes(const DeliverArgs& args);

}  // namespace rl::ops
