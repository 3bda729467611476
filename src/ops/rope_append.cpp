#include "ops/rope_append.h"

#include "ops/bytes.h"
#include "ops/check.h"

namespace rl::ops {

Status validate(const RopeAppendArgs& args) {
  constexpr const char* kOp = "rope_append";
  RL_TRY(check(args.kv_heads >= 1 && args.heads >= args.kv_heads && args.heads % args.kv_heads == 0, kOp, "heads",
               "group", "a multiple of kv_heads", fmt::format("{} heads, {} kv_heads", args.heads, args.kv_heads)));
  RL_TRY(check(args.head_dim >= 2 && args.head_dim % 2 == 0, kOp, "head_dim", "even", "even, at least 2",
               std::to_string(args.head_dim)));
  const std::int64_t cols = (args.heads + 2 * args.kv_heads) * args.head_dim;
  RL_TRY(check_tensor(kOp, "qkv", args.qkv, {.types = {DType::f32, DType::bf16, DType::f16}, .shape = {kAny, cols}}));
  const std::int64_t tokens = args.qkv.shape[0];
  RL_TRY(check_tensor(kOp, "positions", args.positions, {.types = {DType::i32}, .shape = {tokens}}));
  RL_TRY(check_tensor(kOp, "seq_of", args.seq_of, {.types = {DType::i32}, .shape = {tokens}}));
  RL_TRY(check_tensor(kOp, "cos", args.cos, {.types = {DType::f32}, .shape = {kAny, args.head_dim / 2}}));
  RL_TRY(check_tensor(kOp, "sin", args.sin, {.types = {DType::f32}, .shape = {args.cos.shape[0], args.head_dim / 2}}));
  if (args.q_norm) RL_TRY(check_tensor(kOp, "q_norm", args.q_norm, {.types = {DType::f32}, .shape = {args.head_dim}}));
  if (args.k_norm) RL_TRY(check_tensor(kOp, "k_norm", args.k_norm, {.types = {DType::f32}, .shape = {args.head_dim}}));
  RL_TRY(check(args.eps >= 0 && std::isfinite(args.eps), kOp, "eps", "range", "finite, not negative",
               fmt::format("{}", args.eps)));
  RL_TRY(check_pages(kOp, args.cache, args.qkv.dtype, args.kv_heads, args.head_dim));
  return check_tensor(kOp, "page_table", args.page_table, {.types = {DType::i32}, .shape = {kAny, kAny}});
}

// Two elements rotate by four products and two additions; a norm takes 4 per element, as in rms_norm.
double flops(const RopeAppendArgs& args) {
  const double tokens = static_cast<double>(args.qkv.shape[0]), head_dim = static_cast<double>(args.head_dim);
  const double q = static_cast<double>(args.heads) * head_dim, k = static_cast<double>(args.kv_heads) * head_dim;
  return tokens * (3 * (q + k) + (args.q_norm ? 4 * q : 0) + (args.k_norm ? 4 * k : 0));
}

// qkv is read, q, k and v are written, k and v in the cache's type; per token one entry of each index. Rows of the
// tables are read once each, at most one per token.
double bytes(const RopeAppendArgs& args) {
  const double tokens = static_cast<double>(args.qkv.shape[0]);
  const double table_rows = std::min(tokens, static_cast<double>(args.cos.shape[0]));
  const double tables = table_rows * static_cast<double>(args.head_dim) * sizeof(float);
  const double q = tokens * static_cast<double>(args.heads * args.head_dim * size_of(args.qkv.dtype));
  const double kv = 2 * tokens * static_cast<double>(args.kv_heads * args.head_dim * size_of(args.cache.k.dtype));
  return size(args.qkv) + q + kv + tables + 3 * tokens * sizeof(std::int32_t) + size(args.q_norm) + size(args.k_norm);
}

}  // namespace rl::ops
