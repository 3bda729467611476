#pragma once
// The card's ceilings (device/probe.h).

#include <span>

#include "device/probe.h"

namespace rl::cuda {

// read_bandwidth, copy_bandwidth, matrix_rate_bf16, matrix_rate_f16, matrix_rate_fp8.
std::span<const Probe> probes();

}  // namespace rl::cuda
