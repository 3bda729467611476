#include "ops/step_io.h"

#include "ops/bytes.h"
#include "ops/check.h"

namespace rl::ops {

Status validate(const FeedArgs& args) {
  constexpr const char* kOp = "feed";
  RL_TRY(check_tensor(kOp, "out", args.out, {.types = {DType::i32}, .shape = {kAny}}));
  for (const TensorRef& host : args.host)
    RL_TRY(check_tensor(kOp, "host", host, {.types = {DType::i32}, .shape = {args.out.shape[0]}}));
  RL_TRY(check_tensor(kOp, "turn", args.turn, {.types = {DType::i32}, .shape = {1}}));
  RL_TRY(check_tensor(kOp, "drawn", args.drawn, {.types = {DType::i32}, .shape = {kAny}}));
  RL_TRY(check(args.words % 4 == 0 && args.words >= kFeedHeader && args.words <= args.out.shape[0], kOp, "words",
               "range", fmt::format("a multiple of 4 from {} to {}", kFeedHeader, args.out.shape[0]),
               std::to_string(args.words)));
  return check(args.ids >= 0 && args.ids <= args.words - kFeedHeader, kOp, "ids", "range",
               fmt::format("0 to {}", args.words - kFeedHeader), std::to_string(args.ids));
}

double flops(const FeedArgs&) { return 0; }
double bytes(const FeedArgs& args) { return 2 * 4 * static_cast<double>(args.words); }

Status validate(const DeliverArgs& args) {
  constexpr const char* kOp = "deliver";
  RL_TRY(check_tensor(kOp, "drawn", args.drawn, {.types = {DType::i32}, .shape = {kAny}}));
  RL_TRY(check_tensor(kOp, "block", args.block, {.types = {DType::i32}, .shape = {kAny}}));
  for (const TensorRef& out : args.out)
    RL_TRY(check_tensor(kOp, "out", out, {.types = {DType::i32}, .shape = {args.drawn.shape[0]}}));
  return ok();
}

double flops(const DeliverArgs&) { return 0; }
double bytes(const DeliverArgs& args) { return 2 * size(args.drawn); }

}  // namespace rl::ops
