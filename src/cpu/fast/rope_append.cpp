// rope_append, a token at a time: q heads in place, k heads into their page, v copied beside them. Into a cache of
// codes both go by way of floats, which are rounded once.

#include "cpu/fast/simd_rows.h"
#include "cpu/fast/variants.h"
#include "num/convert.h"

namespace rl::cpu {
namespace {

// n elements of `type` as floats.
void widen(const SmallOps& kernels, Number type, const void* from, std::int64_t n, float* to) {
  if (type == Number::bf16) return kernels.widen_bf16(static_cast<const std::uint16_t*>(from), n, to);
  if (type == Number::f16) return kernels.widen_f16(static_cast<const num::fp16*>(from), n, to);
  std::memcpy(to, from, static_cast<std::size_t>(n) * sizeof(float));
}

void write_codes(std::span<const float> values, void* to) {
  for (std::size_t i = 0; i < values.size(); ++i)
    static_cast<num::fp8_e4m3*>(to)[i] = num::from_float<num::fp8_e4m3>(values[i]);
}

// wide: [head_dim] to work in.
void append_token(const ops::RopeAppendArgs& args, const SmallOps& kernels, std::int64_t token, std::span<float> wide) {
  const std::int64_t dim = args.head_dim, page_tokens = args.cache.k.shape[2];
  const std::int64_t head_bytes = dim * size_of(args.qkv.dtype);
  const std::int64_t position = args.positions.as<const std::int32_t>()[token];
  const std::int64_t seq = args.seq_of.as<const std::int32_t>()[token];
  const std::int64_t page =
      args.page_table.as<const std::int32_t>()[seq * args.page_table.strides[0] + position / page_tokens];
  char* const heads = static_cast<char*>(args.qkv.data) + token * (args.heads + 2 * args.kv_heads) * head_bytes;
  const auto in_cache = [&](const TensorRef& cache, std::int64_t head) {
    const std::int64_t row = (page * args.kv_heads + head) * page_tokens + position % page_tokens;
    return static_cast<char*>(cache.data) + row * dim * size_of(cache.dtype);
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
  const bool codes = args.cache.k.dtype == DType::f8_e4m3;
  for (std::int64_t h = 0; h < args.kv_heads; ++h) {
    const char *const k = heads + (args.heads + h) * head_bytes, *const v = k + args.kv_heads * head_bytes;
    if (codes) {
      widen(kernels, number_of(args.qkv.dtype), k, dim, wide.data());
      head.in = head.out = wide.data();
      head.type = Number::f32;
      kernels.rope_head(head);
      write_codes(wide, in_cache(args.cache.k, h));
      widen(kernels, number_of(args.qkv.dtype), v, dim, wide.data());
      write_codes(wide, in_cache(args.cache.v, h));
    } else {
      head.in = k;
      head.out = in_cache(args.cache.k, h);
      kernels.rope_head(head);
      std::memcpy(in_cache(args.cache.v, h), v, static_cast<std::size_t>(head_bytes));
    }
  }
}

Status launch(const ops::RopeAppendArgs& args, void*, Stream& stream) {
  const SmallOps& kernels = small_ops(stream);
  for_rows(stream, args.qkv.shape[0], args.qkv.shape[1], [&](std::int64_t first, std::int64_t last) {
    std::vector<float> wide(static_cast<std::size_t>(args.head_dim));
    for (std::int64_t token = first; token < last; ++token) append_token(args, kernels, token, wide);
  });
  return ok();
}

constexpr ops::Variant<ops::RopeAppendArgs> kVariants[] = {
    {"rope_append/cpu.simd", kRowFacts, supports_any_cpu, no_workspace, launch}};

}  // namespace

std::span<const ops::Variant<ops::RopeAppendArgs>> rope_append_variants() { return kVariants; }

}  // namespace rl::cpu
