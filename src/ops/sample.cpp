#include "ops/sample.h"

#include "ops/bytes.h"
#include "ops/check.h"

namespace rl::ops {

Status validate(const SampleArgs& args) {
  constexpr const char* kOp = "sample";
  RL_TRY(check_tensor(kOp, "logits", args.logits, {.types = {DType::f32}, .shape = {kAny, kAny}}));
  RL_TRY(check(args.logits.shape[1] <= INT32_MAX, kOp, "logits", "vocab", "a vocabulary that 32-bit ids reach",
               std::to_string(args.logits.shape[1])));
  RL_TRY(check(args.row != nullptr, kOp, "row", "null", "a row of wishes per row of logits", "none"));
  if (args.history) RL_TRY(check_tensor(kOp, "history", args.history, {.types = {DType::i32}, .shape = {kAny}}));
  return check_tensor(kOp, "out", args.out, {.types = {DType::i32}, .shape = {args.logits.shape[0]}});
}

// Subtraction of the maximum, exponential and sum per logit, as a draw without filters needs; a greedy row needs none.
double flops(const SampleArgs& args) { return 3 * count(args.logits); }

double bytes(const SampleArgs& args) {
  return size(args.logits) + static_cast<double>(args.logits.shape[0]) * sizeof(SampleRow) + size(args.history) +
         size(args.out);
}

}  // namespace rl::ops
