#pragma once
// Values that are no numbers, in what was read.

#include <cstdint>

#include "tensor/tensor.h"

namespace rl::model {

// Infinities and NaN among the elements of a contiguous tensor of f32, bf16 or f16. Reads as fast as memory where there
// are none.
std::int64_t count_not_finite(const TensorRef& tensor);

}  // namespace rl::model
