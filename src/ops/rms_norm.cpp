#include "ops/rms_norm.h"

#include "ops/bytes.h"
#include "ops/check.h"
#include "ops/codes.h"

namespace rl::ops {

Status validate(const RmsNormArgs& args) {
  constexpr const char* kOp = "rms_norm";
  RL_TRY(check_tensor(kOp, "x", args.x, {.types = {DType::f32}, .shape = {kAny, kAny}}));
  const std::int64_t hidden = args.x.shape[1];
  RL_TRY(check_tensor(kOp, "weight", args.weight, {.types = {DType::f32}, .shape = {hidden}}));
  if (args.rows) RL_TRY(check_tensor(kOp, "rows", args.rows, {.types = {DType::i32}, .shape = {kAny}}));
  RL_TRY(check(args.eps >= 0 && std::isfinite(args.eps), kOp, "eps", "range", "finite, not negative",
               fmt::format("{}", args.eps)));
  const std::int64_t rows = args.rows ? args.rows.shape[0] : args.x.shape[0];
  RL_TRY(check_tensor(
      kOp, "out", args.out,
      {.types = {DType::f32, DType::bf16, DType::f16, DType::i8, DType::f8_e4m3}, .shape = {rows, hidden}}));
  RL_TRY(check_scales(kOp, args.out, args.scales));
  const bool rounds = args.rounded == DType::f32 || args.rounded == DType::bf16 || args.rounded == DType::f16;
  RL_TRY(check(rounds, kOp, "rounded", "type", "f32 or bf16 or f16", name_of(args.rounded)));
  return check_apart(kOp, args.out, "x", args.x);
}

// Per element a square, its sum, and two products; the square root and division of a row are not counted.
double flops(const RmsNormArgs& args) { return 4 * count(args.out); }

double bytes(const RmsNormArgs& args) {
  const double rows = std::min(count(args.out), count(args.x));  // rows named twice are read once
  return rows * sizeof(float) + size(args.weight) + size(args.rows) + size(args.out) + size(args.scales);
}

}  // namespace rl::ops
