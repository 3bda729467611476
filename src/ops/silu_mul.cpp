#include "ops/silu_mul.h"

#include "ops/bytes.h"
#include "ops/check.h"
#include "ops/codes.h"

namespace rl::ops {

Status validate(const SiluMulArgs& args) {
  constexpr const char* kOp = "silu_mul";
  RL_TRY(check_tensor(kOp, "gate_up", args.gate_up,
                      {.types = {DType::f32, DType::bf16, DType::f16}, .shape = {kAny, kAny}}));
  const std::int64_t cols = args.gate_up.shape[1];
  RL_TRY(check(cols % 2 == 0, kOp, "gate_up", "even", "as many cols of gate as of up", std::to_string(cols)));
  RL_TRY(check_tensor(
      kOp, "out", args.out,
      {.types = {args.gate_up.dtype, DType::i8, DType::f8_e4m3}, .shape = {args.gate_up.shape[0], cols / 2}}));
  RL_TRY(check_scales(kOp, args.out, args.scales));
  return check_apart(kOp, args.out, "gate_up", args.gate_up);
}

// Negation, exponential, addition, division, product: one each.
double flops(const SiluMulArgs& args) { return 5 * count(args.out); }

double bytes(const SiluMulArgs& args) { return size(args.gate_up) + size(args.out) + size(args.scales); }

}  // namespace rl::ops
