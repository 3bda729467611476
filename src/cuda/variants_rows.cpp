// embed, rms_norm, rope_append, silu_mul and sample: one variant for every legal shape of numbers, and one of codes
// where an op can write them.

#include "cuda/host/cuda_device.h"
#include "cuda/host/error.h"
#include "cuda/kernels/rows/rows.h"
#include "cuda/kernels/sample/sample.h"
#include "cuda/variants.h"
#include "ops/codes.h"

namespace rl::cuda {
namespace {

constexpr ops::Facts kFacts{.graph_safe = true, .pdl_safe = true, .deterministic = true, .batch_invariant = true};

template <class Args>
Status supports_all(const Args&, const Arch& arch) {
  return need_cuda(arch);
}

Status supports_embed(const ops::EmbedArgs& args, const Arch& arch) {
  RL_TRY(need_cuda(arch));
  return need(args.table.layout == quant::Layout::row_major, "reads row-major weights");
}
Status launch_embed(const ops::EmbedArgs& args, void*, Stream& stream) {
  return check(embed_rows({.ids = args.ids.as<const std::int32_t>(),
                           .table = args.table.data,
                           .scales = args.table.scales,
                           .out = args.out.as<float>(),
                           .type = quant::element_type(args.table.format),
                           .tokens = static_cast<int>(args.ids.shape[0]),
                           .hidden = static_cast<int>(args.table.cols),
                           .row_elements = args.table.padded_cols},
                          handle_of(stream)),
               "embed_rows");
}

// Codes are a variant of their own, so that the path tells of them, and that forcing the plain one leaves them out.
template <class Args>
Status supports_numbers(const Args& args, const Arch& arch) {
  RL_TRY(need_cuda(arch));
  return need(!args.scales, "writes numbers, no codes");
}
template <class Args>
Status supports_codes(const Args& args, const Arch& arch) {
  RL_TRY(need_cuda(arch));
  return need(bool{args.scales}, "writes codes only");
}
CodesOut coded(const TensorRef& out, const TensorRef& scales) {
  if (!scales) return {};
  return {.codes = out.data, .scales = scales.as<float>(), .type = out.dtype, .blocked = scales.shape[1] > 1};
}
}  // namespace

RmsNormParams norm_params(const ops::RmsNormArgs& args) {
  return {.x = args.x.as<const float>(),
          .weight = args.weight.as<const float>(),
          .rows = args.rows ? args.rows.as<const std::int32_t>() : nullptr,
          .out = args.scales ? nullptr : args.out.data,
          .type = args.scales ? args.rounded : args.out.dtype,
          .n = static_cast<int>(args.out.shape[0]),
          .hidden = static_cast<int>(args.x.shape[1]),
          .eps = args.eps,
          .coded = coded(args.out, args.scales)};
}
RopeAppendParams rope_params(const ops::RopeAppendArgs& args) {
  return {.qkv = args.qkv.data,
          .positions = args.positions.as<const std::int32_t>(),
          .seq_of = args.seq_of.as<const std::int32_t>(),
          .cos = args.cos.as<const float>(),
          .sin = args.sin.as<const float>(),
          .q_norm = args.q_norm ? args.q_norm.as<const float>() : nullptr,
          .k_norm = args.k_norm ? args.k_norm.as<const float>() : nullptr,
          .k_pages = args.cache.k.data,
          .v_pages = args.cache.v.data,
          .page_table = args.page_table.as<const std::int32_t>(),
          .type = args.qkv.dtype,
          .cache_type = args.cache.k.dtype,
          .tokens = static_cast<int>(args.qkv.shape[0]),
          .heads = static_cast<int>(args.heads),
          .kv_heads = static_cast<int>(args.kv_heads),
          .head_dim = static_cast<int>(args.head_dim),
          .page_tokens = static_cast<int>(args.cache.k.shape[2]),
          .page_table_stride = args.page_table.shape[1],
          .eps = args.eps};
}

namespace {

Status launch_rms_norm(const ops::RmsNormArgs& args, void*, Stream& stream) {
  return check(rms_norm_rows(norm_params(args), handle_of(stream)), "rms_norm_rows");
}

Status launch_rope_append(const ops::RopeAppendArgs& args, void*, Stream& stream) {
  return check(rope_append_rows(rope_params(args), handle_of(stream)), "rope_append_rows");
}

Status launch_silu_mul(const ops::SiluMulArgs& args, void*, Stream& stream) {
  return check(silu_mul_rows({.gate_up = args.gate_up.data,
                              .out = args.scales ? nullptr : args.out.data,
                              .type = args.gate_up.dtype,
                              .tokens = static_cast<int>(args.out.shape[0]),
                              .ffn = static_cast<int>(args.out.shape[1]),
                              .coded = coded(args.out, args.scales)},
                             handle_of(stream)),
               "silu_mul_rows");
}

SampleParams params_of(const ops::SampleArgs& args) {
  return {.logits = args.logits.as<const float>(),
          .row = args.row,
          .history = args.history ? args.history.as<const std::int32_t>() : nullptr,
          .out = args.out.as<std::int32_t>(),
          .rows = static_cast<int>(args.logits.shape[0]),
          .vocab = static_cast<int>(args.logits.shape[1])};
}
Bytes sample_workspace_of(const ops::SampleArgs& args) { return {sample_workspace(params_of(args))}; }
Status launch_sample(const ops::SampleArgs& args, void* workspace, Stream& stream) {
  return check(sample_rows(params_of(args), workspace, handle_of(stream)), "sample_rows");
}

constexpr ops::Variant<ops::EmbedArgs> kEmbed[] = {
    {"embed/cuda.rows", kFacts, supports_embed, no_workspace, launch_embed}};
constexpr ops::Variant<ops::RmsNormArgs> kRmsNorm[] = {
    {"rms_norm/cuda.rows_codes", kFacts, supports_codes, no_workspace, launch_rms_norm},
    {"rms_norm/cuda.rows", kFacts, supports_numbers, no_workspace, launch_rms_norm}};
constexpr ops::Variant<ops::RopeAppendArgs> kRopeAppend[] = {
    {"rope_append/cuda.rows", kFacts, supports_all, no_workspace, launch_rope_append}};
constexpr ops::Variant<ops::SiluMulArgs> kSiluMul[] = {
    {"silu_mul/cuda.rows_codes", kFacts, supports_codes, no_workspace, launch_silu_mul},
    {"silu_mul/cuda.rows", kFacts, supports_numbers, no_workspace, launch_silu_mul}};
constexpr ops::Variant<ops::SampleArgs> kSample[] = {
    {"sample/cuda.bins", kFacts, supports_all, sample_workspace_of, launch_sample}};

}  // namespace

std::span<const ops::Variant<ops::EmbedArgs>> embed_variants() { return kEmbed; }
std::span<const ops::Variant<ops::RmsNormArgs>> rms_norm_variants() { return kRmsNorm; }
std::span<const ops::Variant<ops::RopeAppendArgs>> rope_append_variants() { return kRopeAppend; }
std::span<const ops::Variant<ops::SiluMulArgs>> silu_mul_variants() { return kSiluMul; }
std::span<const ops::Variant<ops::SampleArgs>> sample_variants() { return kSample; }

}  // namespace rl::cuda
