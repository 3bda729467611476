#include "ops/fused_linear.h"

#include <algorithm>

#include "ops/check.h"

namespace rl::ops {
namespace {

bool same(const TensorRef& a, const TensorRef& b) {
  return a.data == b.data && a.dtype == b.dtype && a.rank == b.rank && std::equal(a.shape, a.shape + a.rank, b.shape) &&
         std::equal(a.strides, a.strides + a.rank, b.strides);
}

Status connected(const char* part, bool holds) {
  return check(holds, "fused_linear", part, "connected", "the tensor that the product reads or writes", "another");
}

}  // namespace

Status validate(const FusedLinearArgs& args) {
  constexpr const char* kOp = "fused_linear";
  RL_TRY(check((args.norm || args.silu_mul || args.rope_append) && !(args.silu_mul && args.rope_append), kOp, "ops",
               "parts", "a norm, or one op after the product", "none, or two after it"));
  const LinearArgs& product = args.product;
  if (args.norm) {
    RL_TRY(validate(*args.norm));
    const bool scales = args.norm->scales ? same(args.norm->scales, product.x_scales) : !product.x_scales;
    RL_TRY(connected("norm", same(args.norm->out, product.x) && scales));
  }
  RL_TRY(validate(product));
  TensorRef out = product.out;
  if (args.silu_mul) {
    RL_TRY(validate(*args.silu_mul));
    RL_TRY(connected("silu_mul", same(args.silu_mul->gate_up, product.out)));
    out = args.silu_mul->out;
  }
  if (args.rope_append) {
    RL_TRY(validate(*args.rope_append));
    RL_TRY(connected("rope_append", same(args.rope_append->qkv, product.out)));
  }
  return check_apart(kOp, out, "x", args.norm ? args.norm->x : product.x);
}

}  // namespace rl::ops
