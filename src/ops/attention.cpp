#include "ops/attention.h"

#include "base/checked.h"
#include "ops/bytes.h"
#include "ops/check.h"

namespace rl::ops {
namespace {

struct Sequence {
  std::int64_t queries = 0, kv_len = 0;
};

Sequence sequence(const AttentionArgs& args, std::int64_t s) {
  const auto* cu_q = args.index.cu_q.as<const std::int32_t>();
  return {.queries = cu_q[s + 1] - cu_q[s], .kv_len = args.index.kv_len.as<const std::int32_t>()[s]};
}

}  // namespace

Status validate(const AttentionArgs& args) {
  constexpr const char* kOp = "attention";
  // A token's heads are consecutive: only the stride between tokens is free.
  RL_TRY(check_tensor(
      kOp, "q", args.q,
      {.types = {DType::f32, DType::bf16, DType::f16}, .shape = {kAny, kAny, kAny}, .strided_rows = true}));
  const std::int64_t tokens = args.q.shape[0], heads = args.q.shape[1], head_dim = args.q.shape[2];
  RL_TRY(check_pages(kOp, args.kv, args.q.dtype, kAny, head_dim));
  const std::int64_t kv_heads = args.kv.k.shape[1], page_tokens = args.kv.k.shape[2];
  RL_TRY(check(heads % kv_heads == 0, kOp, "q", "group", fmt::format("heads a multiple of {} kv_heads", kv_heads),
               fmt::format("{} heads", heads)));
  RL_TRY(check_tensor(kOp, "page_table", args.index.page_table, {.types = {DType::i32}, .shape = {kAny, kAny}}));
  const std::int64_t seqs = args.index.page_table.shape[0], max_pages = args.index.page_table.shape[1];
  RL_TRY(check_tensor(kOp, "kv_len", args.index.kv_len, {.types = {DType::i32}, .shape = {seqs}}));
  RL_TRY(check_tensor(kOp, "cu_q", args.index.cu_q, {.types = {DType::i32}, .shape = {seqs + 1}}));
  RL_TRY(check(args.window >= 0, kOp, "window", "range", "0 (none) or more", std::to_string(args.window)));
  RL_TRY(check(args.window == 0 || args.causal, kOp, "window", "causal", "a causal mask beside a window", "none"));
  RL_TRY(check(args.scale > 0 && std::isfinite(args.scale), kOp, "scale", "range", "finite, above 0",
               fmt::format("{}", args.scale)));
  RL_TRY(check(args.max_kv >= 1 && args.max_kv <= max_pages * page_tokens, kOp, "max_kv", "range",
               fmt::format("1 to {} pages of {}", max_pages, page_tokens), std::to_string(args.max_kv)));
  RL_TRY(check(args.max_q >= 1 && args.max_q <= tokens, kOp, "max_q", "range", fmt::format("1 to {} tokens", tokens),
               std::to_string(args.max_q)));
  RL_TRY(check_tensor(kOp, "out", args.out,
                      {.types = {DType::f32, DType::bf16, DType::f16}, .shape = {tokens, heads, head_dim}}));
  return check_apart(kOp, args.out, "q", args.q);
}

// Two per element of a key and two per element of a value; the softmax between them is not counted, as is the custom.
double flops(const AttentionArgs& args) {
  double seen = 0;
  for (std::int64_t s = 0; s < args.index.kv_len.shape[0]; ++s) {
    const auto [queries, kv_len] = sequence(args, s);
    for (std::int64_t i = 0; i < queries; ++i) {
      const std::int64_t position = kv_len - queries + i;
      std::int64_t keys = args.causal ? position + 1 : kv_len;
      if (args.window > 0) keys = std::min(keys, args.window);
      seen += static_cast<double>(keys);
    }
  }
  return 4 * seen * static_cast<double>(args.q.shape[1] * args.q.shape[2]);
}

// Queries in use, each key and value that some query of its sequence sees, and the index entries they need.
double bytes(const AttentionArgs& args) {
  const std::int64_t heads = args.q.shape[1], head_dim = args.q.shape[2];
  const std::int64_t kv_heads = args.kv.k.shape[1], page_tokens = args.kv.k.shape[2];
  double tokens = 0, keys = 0, pages = 0;
  for (std::int64_t s = 0; s < args.index.kv_len.shape[0]; ++s) {
    const auto [queries, kv_len] = sequence(args, s);
    if (queries == 0) continue;
    const std::int64_t first = args.window > 0 ? std::max<std::int64_t>(0, kv_len - queries - args.window + 1) : 0;
    tokens += static_cast<double>(queries);
    keys += static_cast<double>(kv_len - first);
    pages += static_cast<double>(ceil_div(kv_len, page_tokens) - first / page_tokens);
  }
  const double row = static_cast<double>(heads * head_dim), kv_row = static_cast<double>(kv_heads * head_dim);
  return tokens * row * (size_of(args.q.dtype) + size_of(args.out.dtype)) +
         2 * keys * kv_row * size_of(args.kv.k.dtype) + pages * sizeof(std::int32_t) + size(args.index.kv_len) +
         size(args.index.cu_q);
}

}  // namespace rl::ops
