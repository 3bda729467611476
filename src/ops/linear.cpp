#include "ops/linear.h"

#include "ops/bytes.h"
#include "ops/check.h"

namespace rl::ops {

Status validate(const LinearArgs& args) {
  constexpr const char* kOp = "linear";
  RL_TRY(check_weight(kOp, "weight", args.weight));
  RL_TRY(check_tensor(
      kOp, "x", args.x,
      {.types = {DType::f32, DType::bf16, DType::f16}, .shape = {kAny, args.weight.cols}, .strided_rows = true}));
  if (args.bias) RL_TRY(check_tensor(kOp, "bias", args.bias, {.types = {DType::f32}, .shape = {args.weight.rows}}));
  RL_TRY(check_tensor(kOp, "out", args.out,
                      {.types = {DType::f32, DType::bf16, DType::f16}, .shape = {args.x.shape[0], args.weight.rows}}));
  RL_TRY(check(!args.accumulate || args.out.dtype == DType::f32, kOp, "out", "accumulate", "f32, since it is added to",
               name_of(args.out.dtype)));
  return check_apart(kOp, args.out, "x", args.x);
}

// A product and an addition per weight and token, and an addition each for bias and old output.
double flops(const LinearArgs& args) {
  const double outputs = count(args.out);
  return outputs * (2 * static_cast<double>(args.weight.cols) + (args.bias ? 1 : 0) + (args.accumulate ? 1 : 0));
}

double bytes(const LinearArgs& args) {
  return size(args.x) + static_cast<double>(args.weight.rows) * bytes_of_row(args.weight) + size(args.bias) +
         size(args.out) * (args.accumulate ? 2 : 1);
}

}  // namespace rl::ops
