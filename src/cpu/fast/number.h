#pragma once
// The types of numbers that kernels read and write in place. Files compiled for an instruction set include this, so it
// has no functions (see simd.h).

#include <cstdint>

namespace rl::cpu {

enum class Number : std::uint8_t { f32, bf16, f16 };

}  // namespace rl::cpu
