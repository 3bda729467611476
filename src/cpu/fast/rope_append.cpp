// rope_append, a token at a time: q heads in place, k heads into their page, v copied beside them.

#include "cpu/fast/simd_rows.h"
#include "cpu/fast/variants.h"

namespace rl::cpu {
namespace {

void append_token(const ops::RopeAppendArgs& args, const SmallOps& kernels, std::int64_t token) {
  const std::int64_t dim = args.head_dim, page_tokens = args.cache.k.shape[2];
  const std::int64_t head_bytes = dim * size_of(args.qkv.dtype);
  const std::int64_t position = args.positions.as<const std::int32_t>()[token];
  const std::int64_t seq = args.seq_of.as<const std::int32_t>()[token];
  const std::int64_t page =
      args.page_table.as<const std::int32_t>()[seq * args.page_table.strides[0] + position / page_tokens];
  char* const heads = static_cast<char*>(args.qkv.data) + token * (args.heads + 2 * args.kv_heads) * head_bytes;
  const auto in_cache = [&](const TensorRef& cache, std::int64_t head) {
    const std::int64_t row = (page * args.kv_heads + head) * page_tokens + position % page_tokens;
    return static_cast<char*>(cache.data) + row * head_bytes;
  };

  RopeHead head{.type = number_of(args.qkv.dtype),
                .cos = args.cos.as<const float>() + position * (dim / 2),
                .sin = args.sin.as<const float>() + position * (dim / 2),
                .norm = args.q_norm ? args.q_norm.as<const float>() : nullptr,
                .eps = args.eps,
                .head_dim = dim};
  for (std::int64_t h = 0; h < args.heads; ++h) {
    head.in = head.out = heads + h * head_bytes;
    kernels.rope_head(head);
  }
  head.norm = args.k_norm ? args.k_norm.as<const float>() : nullptr;
  for (std::int64_t h = 0; h < args.kv_heads; ++h) {
    head.in = heads + (args.heads + h) * head_bytes;
    head.out = in_cache(args.cache.k, h);
    kernels.rope_head(head);
    std::memcpy(in_cache(args.cache.v, h), heads + (args.heads + args.kv_heads + h) * head_bytes,
                static_cast<std::size_t>(head_bytes));
  }
}

Status launch(const ops::RopeAppendArgs& args, void*, Stream& stream) {
  const SmallOps& kernels = small_ops(stream);
  for_rows(stream, args.qkv.shape[0], args.qkv.shape[1], [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t token = first; token < last; ++token) append_token(args, kernels, token);
  });
  return ok();
}

constexpr ops::Variant<ops::RopeAppendArgs> kVariants[] = {
    {"rope_append/cpu.simd", kRowFacts, supports_any_cpu, no_workspace, launch}};

}  // namespace

std::span<const ops::Variant<ops::RopeAppendArgs>> rope_append_variants() { return kVariants; }

}  // namespace rl::cpu
