#include "ops/embed.h"

#include "ops/bytes.h"
#include "ops/check.h"

namespace rl::ops {

Status validate(const EmbedArgs& args) {
  constexpr const char* kOp = "embed";
  RL_TRY(check_tensor(kOp, "ids", args.ids, {.types = {DType::i32}, .shape = {kAny}}));
  RL_TRY(check_weight(kOp, "table", args.table));
  RL_TRY(check(args.table.format == quant::Format::int8 || quant::scales_of(args.table.format) == quant::Scales::none,
               kOp, "table", "format", "f32, bf16, f16 or int8", name_of(args.table.format)));
  return check_tensor(kOp, "out", args.out, {.types = {DType::f32}, .shape = {args.ids.shape[0], args.table.cols}});
}

double flops(const EmbedArgs& args) {
  const bool scaled = args.table.format == quant::Format::int8;
  return scaled ? count(args.out) : 0;
}

double bytes(const EmbedArgs& args) {
  const double rows = std::min(count(args.ids), static_cast<double>(args.table.rows));
  return size(args.ids) + rows * bytes_of_row(args.table) + size(args.out);
}

}  // namespace rl::ops
