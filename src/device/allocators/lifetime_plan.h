#pragma once
// Where values lie whose sizes and lives are known beforehand: two that are never alive together share memory. The
// engine plans its activations with it, for the largest step, so that every plan finds a value at the same address.

#include <cstdint>
#include <vector>

#include "base/units.h"
#include "device/memory.h"

namespace rl::alloc {

struct Lifetime {
  std::int64_t bytes = 0;
  std::int64_t first = 0, last = -1;  // steps, both included; last < first: never used
};

struct LifetimePlan {
  std::vector<std::int64_t> offset;  // of each value, a multiple of the alignment
  Bytes total;
};

// Greedy by size: the largest value first, each at the lowest offset that is free during its whole life (Pisarchyk and
// Lee, arXiv 2001.03288, "Greedy by Size").
LifetimePlan plan_lifetimes(const std::vector<Lifetime>& values, std::int64_t alignment = kAlignment);

}  // namespace rl::alloc
