// attention: one query per sequence split over keys, flash for the rest, standard attention as the baseline experiments
// compare with, and a plain kernel for everything else.

#include "base/checked.h"
#include "cuda/host/cublaslt.h"
#include "cuda/host/cuda_device.h"
#include "cuda/host/error.h"
#include "cuda/kernels/attention/attention.h"
#include "cuda/variants.h"

namespace rl::cuda {
namespace {

using ops::AttentionArgs;

constexpr ops::Facts kOwn{.graph_safe = true, .pdl_safe = true, .deterministic = true, .batch_invariant = true};

AttentionParams params_of(const AttentionArgs& args) {
  return {.q = args.q.data,
          .k_pages = args.kv.k.data,
          .v_pages = args.kv.v.data,
          .page_table = args.index.page_table.as<const std::int32_t>(),
          .kv_len = args.index.kv_len.as<const std::int32_t>(),
          .cu_q = args.index.cu_q.as<const std::int32_t>(),
          .out = args.out.data,
          .type = args.q.dtype,
          .out_type = args.out.dtype,
          .seqs = static_cast<int>(args.index.kv_len.shape[0]),
          .heads = static_cast<int>(args.q.shape[1]),
          .kv_heads = static_cast<int>(args.kv.k.shape[1]),
          .head_dim = static_cast<int>(args.q.shape[2]),
          .page_tokens = static_cast<int>(args.kv.k.shape[2]),
          .max_q = static_cast<int>(args.max_q),
          .max_kv = static_cast<int>(args.max_kv),
          .q_stride = args.q.strides[0],
          .page_table_stride = args.index.page_table.shape[1],
          .scale = args.scale,
          .causal = args.causal,
          .window = static_cast<int>(args.window)};
}

Status supports_sizes(const AttentionArgs& args, const Arch& arch) {
  RL_TRY(need_cuda(arch));
  RL_TRY(
      need(args.index.kv_len.shape[0] <= 65535 && args.q.shape[1] <= 65535, "takes up to 65,535 sequences and heads"));
  return need(args.max_kv <= (1 << 30) && args.window <= (1 << 30) && args.q.shape[0] <= INT32_MAX,
              "counts tokens in 32 bits");
}

// What the kernels that read 16-byte pieces with mma.sync need.
Status supports_vectors(const AttentionArgs& args, const Arch& arch) {
  RL_TRY(supports_sizes(args, arch));
  RL_TRY(need(args.q.dtype != DType::f32, "16-bit numbers only"));
  RL_TRY(need(args.out.dtype == args.q.dtype, "out has the type of q"));
  const std::int64_t head_dim = args.q.shape[2], page_tokens = args.kv.k.shape[2];
  RL_TRY(need(head_dim % 8 == 0 && head_dim <= 256, "head_dim is a multiple of 8 up to 256"));
  RL_TRY(need((page_tokens & (page_tokens - 1)) == 0, "pages hold a power of two of tokens"));
  const auto aligned = [](const TensorRef& t) { return reinterpret_cast<std::uintptr_t>(t.data) % 16 == 0; };
  return need(
      args.q.strides[0] % 8 == 0 && aligned(args.q) && aligned(args.kv.k) && aligned(args.kv.v) && aligned(args.out),
      "rows begin at multiples of 16 bytes");
}

Status supports_decode(const AttentionArgs& args, const Arch& arch) {
  RL_TRY(supports_vectors(args, arch));
  RL_TRY(need(args.max_q == 1, "takes one query per sequence"));
  return need(args.q.shape[1] / args.kv.k.shape[1] <= 16, "takes up to 16 heads to a kv head");
}
Bytes decode_workspace(const AttentionArgs& args) { return {attention_decode_workspace(params_of(args))}; }
Status launch_decode(const AttentionArgs& args, void* workspace, Stream& stream) {
  return check(attention_decode(params_of(args), workspace, handle_of(stream)), "attention_decode");
}

Bytes no_workspace(const AttentionArgs&) { return {}; }
Status launch_flash(const AttentionArgs& args, void*, Stream& stream) {
  return check(attention_flash(params_of(args), handle_of(stream)), "attention_flash");
}

// Standard attention: scores of all heads of a sequence, softmax, weights times values. Its shapes come from the host's
// knowledge of them, so it takes only steps in which every sequence has max_q queries and max_kv keys.
bool uniform(const AttentionArgs& args) {
  return args.q.shape[0] == args.index.kv_len.shape[0] * args.max_q && args.max_kv == args.max_q;
}
struct StandardPlan {
  Bytes scores, weights, rows, total;
};
StandardPlan standard_plan(const AttentionArgs& args) {
  const std::int64_t scores = args.q.shape[1] * args.max_q * args.max_kv;
  StandardPlan plan{.scores = {round_up(scores * 4, kAlignment)},
                    .weights = {round_up(scores * 2, kAlignment)},
                    .rows = {round_up(args.kv.k.shape[1] * args.max_kv * args.q.shape[2] * 2, kAlignment)}};
  plan.total = plan.scores + plan.weights + plan.rows + plan.rows + kGemmWorkspace;
  return plan;
}
Status supports_standard(const AttentionArgs& args, const Arch& arch) {
  RL_TRY(supports_vectors(args, arch));
  RL_TRY(need(uniform(args), "takes steps that are whole sequences of one length"));
  RL_TRY(need(args.max_kv % 8 == 0, "takes sequences of a multiple of 8 tokens"));
  return cublaslt_there();
}
Bytes standard_workspace(const AttentionArgs& args) { return standard_plan(args).total; }
Status launch_standard(const AttentionArgs& args, void* workspace, Stream& stream) {
  const StandardPlan plan = standard_plan(args);
  const cudaStream_t handle = handle_of(stream);
  auto* at = static_cast<std::byte*>(workspace);
  const auto take = [&](Bytes bytes) { return std::exchange(at, at + bytes.count); };
  auto* const scores = reinterpret_cast<float*>(take(plan.scores));
  void *const weights = take(plan.weights), *const k = take(plan.rows), *const v = take(plan.rows), *const scratch = at;
  const std::int64_t heads = args.q.shape[1], kv_heads = args.kv.k.shape[1], head_dim = args.q.shape[2];
  const std::int64_t queries = args.max_q, keys = args.max_kv, group = heads / kv_heads;
  for (std::int64_t s = 0; s < args.index.kv_len.shape[0]; ++s) {
    for (const auto& [pages, rows] : {std::pair{args.kv.k.data, k}, std::pair{args.kv.v.data, v}})
      RL_TRY(check(gather_pages({.pages = pages,
                                 .out = rows,
                                 .page_table = args.index.page_table.as<const std::int32_t>() +
                                               s * args.index.page_table.shape[1],
                                 .kv_heads = static_cast<int>(kv_heads),
                                 .kv_tokens = static_cast<int>(keys),
                                 .head_dim = static_cast<int>(head_dim),
                                 .page_tokens = static_cast<int>(args.kv.k.shape[2])},
                                handle),
                   "gather_pages"));
    const auto* const q = static_cast<const std::byte*>(args.q.data) + s * queries * args.q.strides[0] * 2;
    auto* const out = static_cast<std::byte*>(args.out.data) + s * queries * heads * head_dim * 2;
    // One batch for each place in a group: its products' keys lie one kv head apart.
    for (std::int64_t g = 0; g < group; ++g)
      RL_TRY(multiply({.x = q + g * head_dim * 2,
                       .w = k,
                       .out = scores + g * queries * keys,
                       .type = args.q.dtype,
                       .out_type = DType::f32,
                       .tokens = queries,
                       .rows = keys,
                       .cols = head_dim,
                       .x_stride = args.q.strides[0],
                       .w_stride = head_dim,
                       .out_stride = keys,
                       .batch = static_cast<int>(kv_heads),
                       .x_batch = group * head_dim,
                       .w_batch = keys * head_dim,
                       .out_batch = group * queries * keys},
                      scratch, handle));
    RL_TRY(check(softmax_rows({.scores = scores,
                               .weights = weights,
                               .type = args.q.dtype,
                               .heads = static_cast<int>(heads),
                               .queries = static_cast<int>(queries),
                               .kv_tokens = static_cast<int>(keys),
                               .scale = args.scale,
                               .causal = args.causal,
                               .window = static_cast<int>(args.window)},
                              handle),
                 "softmax_rows"));
    for (std::int64_t g = 0; g < group; ++g)
      RL_TRY(multiply({.x = static_cast<std::byte*>(weights) + g * queries * keys * 2,
                       .w = v,
                       .out = out + g * head_dim * 2,
                       .type = args.q.dtype,
                       .out_type = args.q.dtype,
                       .tokens = queries,
                       .rows = head_dim,
                       .cols = keys,
                       .x_stride = keys,
                       .w_stride = head_dim,
                       .out_stride = heads * head_dim,
                       .w_by_columns = false,
                       .batch = static_cast<int>(kv_heads),
                       .x_batch = group * queries * keys,
                       .w_batch = keys * head_dim,
                       .out_batch = group * head_dim},
                      scratch, handle));
  }
  return ok();
}

Status supports_simple(const AttentionArgs& args, const Arch& arch) {
  RL_TRY(supports_sizes(args, arch));
  return need(args.q.shape[2] <= 512, "head_dim is up to 512");
}
Status launch_simple(const AttentionArgs& args, void*, Stream& stream) {
  return check(attention_simple(params_of(args), handle_of(stream)), "attention_simple");
}

constexpr ops::Facts kStandard{.graph_safe = true, .pdl_safe = true, .deterministic = true, .batch_invariant = false};

constexpr ops::Variant<AttentionArgs> kVariants[] = {
    {"attention/cuda.decode", kOwn, supports_decode, decode_workspace, launch_decode},
    {"attention/cuda.flash", kOwn, supports_vectors, no_workspace, launch_flash},
    {"attention/cuda.simple", kOwn, supports_simple, no_workspace, launch_simple},
    // After the variant that takes everything: only an experiment that asks for it by name gets it.
    {"attention/cuda.standard", kStandard, supports_standard, standard_workspace, launch_standard},
};

}  // namespace

std::span<const ops::Variant<AttentionArgs>> attention_variants() { return kVariants; }

}  // namespace rl::cuda
