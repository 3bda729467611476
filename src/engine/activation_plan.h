#pragma once
// Where the values between sites lie: two values that are never alive at the same site share memory. Offsets are
// planned once, for the largest step, so that every plan of every bucket finds a value at the same address.

#include <cstdint>
#include <vector>

#include "base/units.h"

namespace rl::engine {

struct ValueLife {
  std::int64_t bytes = 0;
  std::int64_t first = 0, last = -1;  // sites, both included; last < first: never used
};

struct ActivationPlan {
  std::vector<std::int64_t> offset;  // of each value, a multiple of kAlignment
  Bytes total;
};

// Greedy by size: the largest value first, each at the lowest offset that is free during its whole life (Pisarchyk and
// Lee, arXiv 2001.03288, "Greedy by Size").
ActivationPlan plan_activations(const std::vector<ValueLife>& values);

}  // namespace rl::engine
