#pragma once
// The comparator behind every correctness gate: an output against the oracle. It passes positively: an element is good
// only if |out - ref| <= tolerance holds, so a NaN is never good. Infinities must agree in sign.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ops/values.h"
#include "tensor/tensor.h"

namespace rl::ops {

struct Comparison {
  bool passed = false;
  std::int64_t elements = 0, failures = 0;
  // The failing element farthest over its tolerance (a NaN before all), else the one nearest to it; -1: no element.
  std::int64_t worst_index = -1;
  double worst_out = 0, worst_ref = 0, worst_tolerance = 0;
  double relative_error = 0;  // ||out - ref|| / ||ref||, infinite if any element is not finite
  bool sizes_differ = false;  // out, ref and tolerance do not fit together: not compared
  std::string message() const;
};

// out: a floating-point type, any strides, compared in row-major order with ref and tolerance [elements] (tolerance of
// one element: the same for all). Empty input does not pass.
Comparison compare(const TensorRef& out, std::span<const double> ref, std::span<const double> tolerance);

// The same for a subset of out's rows and columns, which ref and tolerance hold.
Comparison compare(const TensorRef& out, const Subset& subset, std::span<const double> ref,
                   std::span<const double> tolerance);

// Codes and scales (ops/codes.h) against the numbers they are codes of, ref +- tolerance [rows * cols]: a scale must be
// that of a largest magnitude within its elements' bounds, and a code lie between those of its element's two bounds
// with the scale found. Both are monotonous, so nothing else is a sound implementation's. Scales count as elements,
// after the codes; empty input does not pass.
Comparison compare_codes(const TensorRef& codes, const TensorRef& scales, std::span<const double> ref,
                         std::span<const double> tolerance);

}  // namespace rl::ops
