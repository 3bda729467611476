#pragma once
// The oracle as the lab sees it: reference results of an op, computed by cpu/ref. The lab never names a backend; wiring
// fills this in.

#include <cstdint>
#include <vector>

#include "ops/attention.h"
#include "ops/compare.h"

namespace rl::ops {

struct Oracle {
  // Compares `out` of attention at the chosen tokens (rows of out) with the reference, within the op's derived
  // tolerance.
  Comparison (*check_attention)(const AttentionArgs& args, const std::vector<std::int64_t>& tokens) = nullptr;
};

}  // namespace rl::ops
