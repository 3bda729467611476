#include "ops/linear.h"

#include "ops/bytes.h"
#include "ops/check.h"
#include "ops/codes.h"

namespace rl::ops {

Status validate(const LinearArgs& args) {
  constexpr const char* kOp = "linear";
  RL_TRY(check_weight(kOp, "weight", args.weight));
  const std::int64_t cols = args.weight.cols;
  if (are_codes(args.x.dtype)) {
    const DType codes = quant::element_type(args.weight.format);
    RL_TRY(check(quant::quantizes_input(args.weight.format), kOp, "x", "codes", "numbers: these weights take no codes",
                 name_of(args.x.dtype)));
    RL_TRY(check_tensor(kOp, "x", args.x, {.types = {codes}, .shape = {kAny, cols}, .strided_rows = true}));
    RL_TRY(check_tensor(kOp, "x_scales", args.x_scales,
                        {.types = {DType::f32}, .shape = {args.x.shape[0], scale_groups(args.weight.format, cols)}}));
  } else {
    RL_TRY(check_tensor(kOp, "x", args.x,
                        {.types = {DType::f32, DType::bf16, DType::f16}, .shape = {kAny, cols}, .strided_rows = true}));
    RL_TRY(check(!args.x_scales, kOp, "x_scales", "unused", "none beside numbers that are no codes", "scales"));
  }
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
  return size(args.x) + size(args.x_scales) + static_cast<double>(args.weight.rows) * bytes_of_row(args.weight) +
         size(args.bias) + size(args.out) * (args.accumulate ? 2 : 1);
}

}  // namespace rl::ops
