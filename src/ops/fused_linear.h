#pragma once
// fused_linear: a product with the ops around it in one kernel. Its arguments are those that the ops would have one
// after the other, rms_norm, linear, then silu_mul or rope_append, and its results have the bits they would give. What
// they hand to each other (the norm's out, the product's out where an op follows, but for q, which rope_append leaves
// there) is not written, or holds whatever the kernel left.

#include <optional>

#include "ops/linear.h"
#include "ops/rms_norm.h"
#include "ops/rope_append.h"
#include "ops/silu_mul.h"

namespace rl::ops {

struct FusedLinearArgs {
  std::optional<RmsNormArgs> norm;  // its out, and its scales, are product.x and product.x_scales
  LinearArgs product;
  std::optional<SiluMulArgs> silu_mul;        // its gate_up is product.out; not with rope_append
  std::optional<RopeAppendArgs> rope_append;  // its qkv is product.out
};

// Errors: those of the parts; invalid_input with rule "fused_linear.<part>.connected" for parts that do not hand on to
// each other, "fused_linear.parts" for a product alone or one with both ends, and "fused_linear.out.overlap" for
// results over the norm's input, which the parts would not read any more.
Status validate(const FusedLinearArgs& args);

}  // namespace rl::ops
