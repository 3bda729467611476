#include "ops/codes.h"

#include "ops/check.h"

namespace rl::ops {

Status check_scales(const char* op, const TensorRef& out, const TensorRef& scales) {
  if (!are_codes(out.dtype))
    return check(!scales, op, "scales", "unused", "none beside numbers that are no codes", "scales");
  RL_TRY(check_tensor(op, "scales", scales, {.types = {DType::f32}, .shape = {out.shape[0], kAny}}));
  const std::int64_t groups = scales.shape[1], blocks = (out.shape[1] + 127) / 128;
  return check(groups == 1 || (groups == blocks && out.dtype == DType::f8_e4m3), op, "scales", "groups",
               out.dtype == DType::i8 ? "1 a row" : fmt::format("1 a row, or {}", blocks), std::to_string(groups));
}

}  // namespace rl::ops
