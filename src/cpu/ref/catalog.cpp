// The oracle as variants: compute everything, then round and store. They take every legal shape and both layouts.

#include "cpu/ref/ref.h"
#include "tensor/element.h"

namespace rl::cpu::ref {
namespace {

constexpr ops::Facts kFacts{.deterministic = true, .batch_invariant = true, .emulated = true};

template <class Args>
Status supports(const Args&, const Arch& arch) {
  if (arch.family == Arch::Family::cpu) return ok();
  return Error{.kind = ErrorKind::unsupported, .what = "computes on the processor only"};
}

template <class Args>
Bytes workspace(const Args&) {
  return {0};
}

void store(const TensorRef& out, const std::vector<double>& values) {
  for (std::size_t i = 0; i < values.size(); ++i)
    store_element(out.dtype, out.data, static_cast<std::int64_t>(i), values[i]);
}

template <class Args, Values (*F)(const Args&)>
Status launch(const Args& args, void*, Stream&) {
  store(args.out, F(args).value);
  return ok();
}

Status launch_rms_norm(const ops::RmsNormArgs& args, void*, Stream&) {
  const std::vector<double> values = rms_norm(args).value;
  if (args.scales)
    store_codes(values, args.rounded, args.out, args.scales);
  else
    store(args.out, values);
  return ok();
}

Status launch_silu_mul(const ops::SiluMulArgs& args, void*, Stream&) {
  const std::vector<double> values = silu_mul(args).value;
  if (args.scales)
    store_codes(values, args.gate_up.dtype, args.out, args.scales);
  else
    store(args.out, values);
  return ok();
}

Status launch_linear(const ops::LinearArgs& args, void*, Stream&) {
  store(args.out, linear(args).value);
  return ok();
}

// Padding tokens come last: their rows of out are left alone.
Status launch_attention(const ops::AttentionArgs& args, void*, Stream&) {
  store(args.out, attention(args).value);
  return ok();
}

Status launch_rope_append(const ops::RopeAppendArgs& args, void*, Stream&) {
  const RopeAppended result = rope_append(args);
  const std::int64_t q_cols = args.heads * args.head_dim, kv_cols = args.kv_heads * args.head_dim;
  const std::int64_t page_tokens = args.cache.k.shape[2], max_pages = args.page_table.shape[1];
  for (std::int64_t t = 0; t < args.qkv.shape[0]; ++t) {
    for (std::int64_t i = 0; i < q_cols; ++i)
      store_element(args.qkv.dtype, args.qkv.data, t * args.qkv.shape[1] + i,
                    result.q.value[static_cast<std::size_t>(t * q_cols + i)]);
    const std::int64_t position = args.positions.as<const std::int32_t>()[t];
    const std::int64_t sequence = args.seq_of.as<const std::int32_t>()[t];
    RL_CHECK(sequence >= 0 && sequence < args.page_table.shape[0] && position / page_tokens < max_pages);
    const std::int64_t page = args.page_table.as<const std::int32_t>()[sequence * max_pages + position / page_tokens];
    RL_CHECK(page >= 0 && page < args.cache.k.shape[0]);
    for (std::int64_t h = 0; h < args.kv_heads; ++h)
      for (std::int64_t i = 0; i < args.head_dim; ++i) {
        const std::int64_t at = ((page * args.kv_heads + h) * page_tokens + position % page_tokens) * args.head_dim + i;
        const auto from = static_cast<std::size_t>(t * kv_cols + h * args.head_dim + i);
        store_element(args.cache.k.dtype, args.cache.k.data, at, result.k.value[from]);
        store_element(args.cache.v.dtype, args.cache.v.data, at, result.v.value[from]);
      }
  }
  return ok();
}

Status launch_sample(const ops::SampleArgs& args, void*, Stream&) {
  const std::vector<TokenId> tokens = sample(args);
  std::copy(tokens.begin(), tokens.end(), args.out.as<std::int32_t>());
  return ok();
}

void store_words(const TensorRef& out, const std::vector<std::int32_t>& words) {
  std::copy(words.begin(), words.end(), out.as<std::int32_t>());
}
Status launch_feed(const ops::FeedArgs& args, void*, Stream&) {
  const Fed fed = feed(args);
  store_words(args.out, fed.block);
  *args.turn.as<std::int32_t>() = fed.turn;
  return ok();
}
Status launch_deliver(const ops::DeliverArgs& args, void*, Stream&) {
  const auto outs = deliver(args);
  for (std::size_t i = 0; i < 2; ++i) store_words(args.out[i], outs[i]);
  return ok();
}

template <class Args>
constexpr ops::Variant<Args> variant(const char* name, Status (*launch)(const Args&, void*, Stream&)) {
  return {.name = name, .facts = kFacts, .supports = supports, .workspace = workspace, .launch = launch};
}

constexpr ops::Variant<ops::FeedArgs> kFeed[] = {variant("feed/cpu.ref", launch_feed)};
constexpr ops::Variant<ops::DeliverArgs> kDeliver[] = {variant("deliver/cpu.ref", launch_deliver)};
constexpr ops::Variant<ops::EmbedArgs> kEmbed[] = {variant("embed/cpu.ref", launch<ops::EmbedArgs, embed>)};
constexpr ops::Variant<ops::RmsNormArgs> kRmsNorm[] = {variant("rms_norm/cpu.ref", launch_rms_norm)};
constexpr ops::Variant<ops::LinearArgs> kLinear[] = {variant("linear/cpu.ref", launch_linear)};
constexpr ops::Variant<ops::RopeAppendArgs> kRopeAppend[] = {variant("rope_append/cpu.ref", launch_rope_append)};
constexpr ops::Variant<ops::AttentionArgs> kAttention[] = {variant("attention/cpu.ref", launch_attention)};
constexpr ops::Variant<ops::SiluMulArgs> kSiluMul[] = {variant("silu_mul/cpu.ref", launch_silu_mul)};
constexpr ops::Variant<ops::SampleArgs> kSample[] = {variant("sample/cpu.ref", launch_sample)};
constexpr quant::Layout kLayouts[] = {quant::Layout::row_major, quant::Layout::panel64};

}  // namespace

const ops::Catalog& catalog() {
  static constexpr ops::Catalog kCatalog{.feed = kFeed,
                                         .embed = kEmbed,
                                         .rms_norm = kRmsNorm,
                                         .linear = kLinear,
                                         .rope_append = kRopeAppend,
                                         .attention = kAttention,
                                         .silu_mul = kSiluMul,
                                         .sample = kSample,
                                         .deliver = kDeliver,
                                         .layouts = kLayouts};
  return kCatalog;
}

}  // namespace rl::cpu::ref
