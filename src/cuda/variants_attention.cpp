// attention: one query per sequence split over keys, flash for the rest, both in a mixed step, standard attention as
// the baseline experiments compare with, and a plain kernel for everything else.

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
          .cache_type = args.kv.k.dtype,
          .out_type = args.out.dtype,
          .tokens = static_cast<int>(args.q.shape[0]),
          .seqs = static_cast<int>(args.index.kv_len.shape[0]),
          .heads = static_cast<int>(args.q.shape[1]),
          .kv_heads = static_cast<int>(args.kv.k.shape[1]),
          .head_dim = static_cast<int>(args.q.shape[2]),
          .pages = static_cast<int>(args.kv.k.shape[0]),
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
Status supports_pieces(const AttentionArgs& args, const Arch& arch) {
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
bool is_fp8(const AttentionArgs& args) { return args.kv.k.dtype == DType::f8_e4m3; }
Status supports_vectors(const AttentionArgs& args, const Arch& arch) {
  RL_TRY(supports_pieces(args, arch));
  return need(!is_fp8(args), "reads a cache of 16-bit numbers only");
}

Status supports_wgmma(const AttentionArgs& args, const Arch& arch) {
  RL_TRY(supports_vectors(args, arch));
  RL_TRY(need(arch.version == 90, "needs compute capability 9.0"));
  RL_TRY(need(args.kv.k.shape[2] >= 8, "pages hold 8 tokens or more"));
  return need(args.kv.k.shape[0] * args.kv.k.shape[1] * args.kv.k.shape[2] <= INT32_MAX,
              "counts rows of all pages in 32 bits");
}

Status supports_one_query(const AttentionArgs& args, const Arch& arch) {
  RL_TRY(supports_pieces(args, arch));
  RL_TRY(need(!is_fp8(args) || (args.q.shape[2] % 16 == 0 && args.q.shape[2] <= 128),
              "of a cache in fp8 head_dim is a multiple of 16 up to 128"));
  const std::int64_t kv_heads = args.kv.k.shape[1];
  RL_TRY(need(args.index.kv_len.shape[0] * kv_heads <= CudaStream::kSemaphores,
              "takes up to 262,144 kv heads of sequences"));
  RL_TRY(need(args.index.kv_len.shape[0] * kv_heads * (args.max_kv / kDecodeStep + 1) <= INT32_MAX,
              "counts steps over all keys in 32 bits"));
  return need(args.q.shape[1] / kv_heads <= 16, "takes up to 16 heads to a kv head");
}
Status supports_decode(const AttentionArgs& args, const Arch& arch) {
  RL_TRY(supports_one_query(args, arch));
  return need(args.max_q == 1, "takes one query per sequence");
}
Bytes decode_workspace(const AttentionArgs& args) { return {attention_decode_workspace(params_of(args))}; }
Status launch_decode(const AttentionArgs& args, void* workspace, Stream& stream) {
  return check(attention_decode(params_of(args), workspace, semaphores_of(stream), handle_of(stream)),
               "attention_decode");
}

Status supports_flash_kv8(const AttentionArgs& args, const Arch& arch) {
  RL_TRY(supports_pieces(args, arch));
  return need(is_fp8(args) && args.q.shape[2] % 16 == 0, "reads a cache in fp8, head_dim a multiple of 16");
}
Status flash(const AttentionParams& params, Stream& stream) {
  return check(attention_flash(params, handle_of(stream)), "attention_flash");
}
Status flash_kv8(const AttentionParams& params, Stream& stream) {
  return check(attention_flash_kv8(params, handle_of(stream)), "attention_flash_kv8");
}
Status flash_wgmma(const AttentionParams& params, Stream& stream) {
  return check(attention_flash_wgmma(params, semaphores_of(stream), handle_of(stream)), "attention_flash_wgmma");
}
using Flash = Status(const AttentionParams& params, Stream& stream);
template <Flash kFlash>
Status launch_flash(const AttentionArgs& args, void*, Stream& stream) {
  return kFlash(params_of(args), stream);
}

// A step of chunks beside decoding sequences: flash for those with several queries, decode for those with one. Which is
// which the device reads from cu_q; a sequence's bits are those it has in a step of its kind.
template <auto kSupportsFlash>
Status supports_mixed(const AttentionArgs& args, const Arch& arch) {
  RL_TRY(supports_one_query(args, arch));
  RL_TRY(kSupportsFlash(args, arch));
  return need(args.max_q > 1 && args.index.kv_len.shape[0] > 1, "takes several sequences, some with several queries");
}
template <Flash kFlash>
Status launch_mixed(const AttentionArgs& args, void* workspace, Stream& stream) {
  AttentionParams params = params_of(args);
  params.one_query_apart = true;
  RL_TRY(kFlash(params, stream));
  return launch_decode(args, workspace, stream);
}
template <Flash kFlash, auto kSupportsFlash>
constexpr ops::Variant<AttentionArgs> mixed(const char* name) {
  return {name, kOwn, supports_mixed<kSupportsFlash>, decode_workspace, launch_mixed<kFlash>};
}

Bytes standard_workspace(const AttentionArgs& args) { return {attention_standard_workspace(params_of(args))}; }
Status launch_standard(const AttentionArgs& args, void* workspace, Stream& stream) {
  return check(attention_standard(params_of(args), workspace, handle_of(stream)), "attention_standard");
}

Status supports_simple(const AttentionArgs& args, const Arch& arch) {
  RL_TRY(supports_sizes(args, arch));
  return need(args.q.shape[2] <= 512, "head_dim is up to 512");
}
Status launch_simple(const AttentionArgs& args, void*, Stream& stream) {
  return check(attention_simple(params_of(args), handle_of(stream)), "attention_simple");
}

constexpr ops::Variant<AttentionArgs> kVariants[] = {
    {"attention/cuda.decode", kOwn, supports_decode, decode_workspace, launch_decode},
    mixed<flash_wgmma, supports_wgmma>("attention/cuda.mixed_wgmma"),
    mixed<flash, supports_vectors>("attention/cuda.mixed"),
    mixed<flash_kv8, supports_flash_kv8>("attention/cuda.mixed_kv8"),
    {"attention/cuda.flash_wgmma", kOwn, supports_wgmma, no_workspace, launch_flash<flash_wgmma>},
    {"attention/cuda.flash", kOwn, supports_vectors, no_workspace, launch_flash<flash>},
    {"attention/cuda.flash_kv8", kOwn, supports_flash_kv8, no_workspace, launch_flash<flash_kv8>},
    {"attention/cuda.simple", kOwn, supports_simple, no_workspace, launch_simple},
    // After the variant that takes everything: only an experiment that asks for it by name gets it.
    {"attention/cuda.standard", kOwn, supports_vectors, standard_workspace, launch_standard},
};

}  // namespace

std::span<const ops::Variant<AttentionArgs>> attention_variants() { return kVariants; }

}  // namespace rl::cuda
