#pragma once
// Parts of the experiment `graphs`: names that its rows carry, and what is concluded from the rows.

#include "record/record.h"

namespace rl::experiments {

inline constexpr const char *kLatency = "graphs.latency", *kManySmallKernels = "graphs.many_small_kernels",
                            *kDynamicShapes = "graphs.dynamic_shapes";

// Variants: launched kernel by kernel; captured with plain edges; with programmatic edges; those, but the host waits
// for each step; captured in padded shapes; captured anew for each shape.
inline constexpr const char *kLaunched = "launched", *kPlain = "plain", *kCaptured = "captured", *kInStep = "in step",
                            *kPadded = "padded", *kAnew = "anew";

// The i-th length of a stream of prompts: each of 33 to 512 once in 480.
std::int64_t length_at(std::int64_t i);

// Hypotheses, charts, headline, meaning and advice, from rows and comparisons alone.
void conclude_graphs(record::Experiment& record);

}  // namespace rl::experiments
