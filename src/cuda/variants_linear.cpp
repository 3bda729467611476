// linear: a stream over the weights for few tokens, cuBLASLt for many, our tiles where there is none or none that fits,
// and a plain kernel for everything else. W8A8 products quantise their input into the workspace first.

#include "base/checked.h"
#include "cuda/host/cublaslt.h"
#include "cuda/host/cuda_device.h"
#include "cuda/host/error.h"
#include "cuda/kernels/linear/batch.h"
#include "cuda/kernels/linear/finish.h"
#include "cuda/kernels/linear/linear.h"
#include "cuda/kernels/linear/stream.h"
#include "cuda/kernels/linear/wgmma.h"
#include "cuda/variants.h"
#include "ops/codes.h"

namespace rl::cuda {
namespace {

using ops::FusedLinearArgs;
using ops::LinearArgs;

constexpr ops::Facts kOwn{.graph_safe = true, .pdl_safe = true, .deterministic = true, .batch_invariant = true};
// 9.0's units for e4m3 keep about 14 bits of a sum and cut off the rest: at each of their steps of 32 columns up to
// 2^-13 of what is summed. The library promotes partial sums to fp32 after four steps (DeepSeek-V3, arXiv 2412.19437,
// section 3.3.2), which keeps the sum of what was cut off within four times that.
constexpr ops::Facts kLibraryFp8{.graph_safe = true, .pdl_safe = true, .sum_error = 4 * 0x1p-13};
constexpr ops::Facts kLibrary{.graph_safe = true, .pdl_safe = true, .deterministic = true, .batch_invariant = false};

bool blocked(const LinearArgs& args) { return args.weight.format == quant::Format::fp8_block; }
bool weight_only(const LinearArgs& args) {
  return args.weight.format == quant::Format::int8_wo || args.weight.format == quant::Format::fp8_wo;
}
DType weight_type(const LinearArgs& args) { return quant::element_type(args.weight.format); }
// Of x as the product reads it.
DType input_type(const LinearArgs& args) {
  return quant::quantizes_input(args.weight.format) ? weight_type(args) : args.x.dtype;
}
bool is_16_bit(DType type) { return type == DType::bf16 || type == DType::f16; }

// Whether the product has to quantise x: no op before it has.
bool quantizes(const LinearArgs& args) {
  return quant::quantizes_input(args.weight.format) && !ops::are_codes(args.x.dtype);
}

// What W8A8 needs beside the product: codes and scales of x.
Bytes codes_bytes(const LinearArgs& args) { return {round_up(args.x.shape[0] * args.weight.cols, kAlignment)}; }
Bytes quantized_bytes(const LinearArgs& args) {
  if (!quantizes(args)) return {};
  const std::int64_t scales = blocked(args) ? blocks_of(static_cast<int>(args.weight.cols)) : 1;
  return codes_bytes(args) + Bytes{round_up(args.x.shape[0] * scales * 4, kAlignment)};
}

LinearParams plain_params(const LinearArgs& args) {
  return {.x = args.x.data,
          .weight = args.weight.data,
          .x_scale = args.x_scales ? args.x_scales.as<const float>() : nullptr,
          .w_scale = args.weight.scales,
          .blocked = blocked(args),
          .bias = args.bias ? args.bias.as<const float>() : nullptr,
          .out = args.out.data,
          .x_type = args.x.dtype,
          .weight_type = weight_type(args),
          .out_type = args.out.dtype,
          .accumulate = args.accumulate,
          .tokens = static_cast<int>(args.x.shape[0]),
          .rows = static_cast<int>(args.weight.rows),
          .cols = static_cast<int>(args.weight.cols),
          .x_stride = args.x.strides[0]};
}

// The product's parameters; where the format asks for it, x is quantised into the workspace.
Result<LinearParams> prepare(const LinearArgs& args, void* workspace, Stream& stream) {
  LinearParams params = plain_params(args);
  if (!quantizes(args)) return params;
  auto* const scales = reinterpret_cast<float*>(static_cast<std::byte*>(workspace) + codes_bytes(args).count);
  RL_TRY(check(quantize_rows({.x = args.x.data,
                              .q = workspace,
                              .scale = scales,
                              .x_type = args.x.dtype,
                              .q_type = weight_type(args),
                              .blocked = blocked(args),
                              .tokens = params.tokens,
                              .cols = params.cols,
                              .x_stride = params.x_stride},
                             handle_of(stream)),
               "quantize_rows"));
  params.x = workspace;
  params.x_scale = scales;
  params.x_type = weight_type(args);
  params.x_stride = params.cols;
  return params;
}

Status supports_rows(const LinearArgs& args, const Arch& arch) {
  RL_TRY(need_cuda(arch));
  RL_TRY(need(args.weight.layout == quant::Layout::row_major, "reads row-major weights"));
  return need(args.weight.rows <= INT32_MAX && args.weight.cols <= INT32_MAX && args.x.shape[0] <= INT32_MAX,
              "counts rows, columns and tokens in 32 bits");
}

// Rows of W and of x as the product reads it begin at multiples of 16 bytes.
Status supports_weight_vectors(const LinearArgs& args) {
  return need(args.weight.cols * size_of(weight_type(args)) % 16 == 0, "reads rows of W in 16-byte pieces");
}
Status supports_input_vectors(const LinearArgs& args) {
  return need(
      reinterpret_cast<std::uintptr_t>(args.x.data) % 16 == 0 && args.x.strides[0] * size_of(args.x.dtype) % 16 == 0,
      "reads rows of x in 16-byte pieces");
}
Status supports_vectors(const LinearArgs& args) {
  RL_TRY(supports_weight_vectors(args));
  return quantizes(args) ? ok() : supports_input_vectors(args);
}

// The types our own products with mma.sync take.
Status supports_types(const LinearArgs& args) {
  const DType x = input_type(args), w = weight_type(args);
  return need(x == w ? x != DType::f32 : weight_only(args) && is_16_bit(x), "x has the type of W, or 16 bits beside 8");
}

Status supports_skinny(const LinearArgs& args, const Arch& arch) {
  RL_TRY(supports_rows(args, arch));
  RL_TRY(need(args.x.shape[0] <= kSkinnyTokens, "takes at most 16 tokens"));
  RL_TRY(supports_vectors(args));
  return supports_types(args);
}
Status launch_skinny(const LinearArgs& args, void* workspace, Stream& stream) {
  RL_ASSIGN(const LinearParams params, prepare(args, workspace, stream));
  return check(linear_skinny(params, handle_of(stream)), "linear_skinny");
}

// The type that a product's stream rounds activations to, where it has any to round.
DType stream_type(const LinearArgs& args) { return is_16_bit(args.x.dtype) ? args.x.dtype : DType::bf16; }

// What a product's stream asks but of x, which another op may have been taken in to make.
Status supports_stream_of(const LinearArgs& args, const Arch& arch, std::int64_t tokens) {
  RL_TRY(supports_rows(args, arch));
  RL_TRY(need(!blocked(args), "has one scale for a row"));
  RL_TRY(supports_weight_vectors(args));
  RL_TRY(need(args.x.shape[0] <= tokens, "takes fewer tokens"));
  return need(stream_fits(arch.version, static_cast<int>(args.x.shape[0]), static_cast<int>(args.weight.cols),
                          is_16_bit(weight_type(args)), input_type(args) == DType::i8),
              "keeps x in shared memory");
}
// The same of x, as it is or to be quantised.
Status supports_stream_input(const LinearArgs& args) {
  RL_TRY(supports_types(args));
  RL_TRY(supports_input_vectors(args));
  if (!quantizes(args)) return ok();
  RL_TRY(need(is_16_bit(args.x.dtype), "quantises 16-bit numbers"));
  return need(args.weight.cols <= kStreamQuantizeCols, "quantises shorter rows");
}

Status supports_stream(const LinearArgs& args, const Arch& arch) {
  RL_TRY(supports_stream_of(args, arch, kStreamTokens));
  return supports_stream_input(args);
}
StreamParams stream_params(const LinearArgs& args) {
  StreamParams params{.product = plain_params(args),
                      .type = stream_type(args),
                      .input = quantizes(args) ? StreamInput::numbers : StreamInput::ready,
                      .output = StreamOutput::plain,
                      .norm = {},
                      .rope = {}};
  params.product.x_type = input_type(args);
  return params;
}
Status launch_stream(const LinearArgs& args, void*, Stream& stream) {
  return check(linear_stream(stream_params(args), handle_of(stream)), "linear_stream");
}

// Sums run in another order than those of few tokens: a sequence's bits change with the batch it is in.
constexpr ops::Facts kBatch{.graph_safe = true, .pdl_safe = true, .deterministic = true, .batch_invariant = false};

// The type of activations: that of x, or where it is codes or fp32, of the product.
DType batch_type(const LinearArgs& args) {
  if (is_16_bit(args.x.dtype)) return args.x.dtype;
  return is_16_bit(args.out.dtype) ? args.out.dtype : DType::bf16;
}
// `params` with codes as x where the product has to make them.
Status launch_batch_of(const LinearArgs& args, StreamParams params, void* workspace, Stream& stream) {
  void* const out = params.product.out;  // of the op after it, where there is one
  RL_ASSIGN(params.product, prepare(args, workspace, stream));
  params.product.out = out;
  params.type = batch_type(args);
  params.input = StreamInput::ready;
  return check(linear_batch(params, handle_of(stream)), "linear_batch");
}

Status supports_batch_of(const LinearArgs& args, const Arch& arch) {
  RL_TRY(supports_rows(args, arch));
  // What is neither runs code that was compiled for 8.9.
  RL_TRY(need(arch.version == 90 || arch.version >= 120, "needs compute capability 9.0 or 12.0"));
  RL_TRY(need(input_type(args) == weight_type(args) && !blocked(args), "x has the type of W, and rows have one scale"));
  RL_TRY(need(input_type(args) != DType::f32, "16-bit numbers or codes"));
  RL_TRY(need(args.out.dtype == batch_type(args) || args.out.dtype == DType::f32, "out has the type of x, or f32"));
  RL_TRY(
      need(args.weight.cols * size_of(weight_type(args)) % kBatchSliceBytes == 0, "takes 128 bytes of a row at once"));
  return supports_vectors(args);
}
Status supports_batch(const LinearArgs& args, const Arch& arch) {
  RL_TRY(need(args.x.shape[0] <= kBatchFewTokens, "takes at most 32 tokens"));
  return supports_batch_of(args, arch);
}
Status supports_batch_64(const LinearArgs& args, const Arch& arch) {
  const std::int64_t tokens = args.x.shape[0];
  RL_TRY(need(tokens > kBatchFewTokens && tokens <= batch_tokens(weight_type(args), true),
              "takes 33 to 64 tokens, of fp8 none"));
  return supports_batch_of(args, arch);
}
Status launch_batch(const LinearArgs& args, void* workspace, Stream& stream) {
  return launch_batch_of(args, stream_params(args), workspace, stream);
}

// Where each block makes x for itself: of more tokens than these an op of its own does it sooner.
constexpr std::int64_t kFusedTokens = 4;

// Whether a product's rows are such that its kernel takes in the op after it, and both of `type`.
template <StreamOutput kOutput>
Status supports_output(const FusedLinearArgs& args, DType type) {
  const LinearArgs& product = args.product;
  if constexpr (kOutput == StreamOutput::silu) {
    RL_TRY(need(product.out.dtype == type && !args.silu_mul->scales, "writes numbers of the activations' type"));
    RL_TRY(need(product.weight.rows % 16 == 0, "has eight rows of gate beside eight of up"));
  }
  if constexpr (kOutput == StreamOutput::rope) {
    RL_TRY(need(product.out.dtype == type, "writes the activations' type"));
    RL_TRY(need(!args.rope_append->q_norm && !args.rope_append->k_norm, "has no norm of heads"));
    RL_TRY(need(args.rope_append->head_dim % 16 == 0, "has eight rows of a head beside their partners"));
  }
  return ok();
}
template <bool kNorm, StreamOutput kOutput>
Status supports_parts(const FusedLinearArgs& args) {
  return need(args.norm.has_value() == kNorm && args.silu_mul.has_value() == (kOutput == StreamOutput::silu) &&
                  args.rope_append.has_value() == (kOutput == StreamOutput::rope),
              "takes other ops in");
}

template <bool kNorm, StreamOutput kOutput>
Status supports_fused(const FusedLinearArgs& args, const Arch& arch) {
  RL_TRY((supports_parts<kNorm, kOutput>(args)));
  const LinearArgs& product = args.product;
  const bool makes_input = kNorm || quantizes(product);
  RL_TRY(supports_stream_of(product, arch, makes_input ? kFusedTokens : kStreamTokens));
  DType type = product.x.dtype;
  if constexpr (kNorm) {
    const ops::RmsNormArgs& norm = *args.norm;
    type = norm.scales ? norm.rounded : norm.out.dtype;
    const DType w = weight_type(product);
    RL_TRY(need(type == w || quant::scales_of(product.weight.format) != quant::Scales::none,
                "x has the type of W, or 16 bits beside 8"));
    RL_TRY(need(product.weight.cols % 8 == 0 && product.weight.cols <= kStreamNormCols, "holds a row in registers"));
  } else {
    RL_TRY(supports_stream_input(product));
    RL_TRY(need(!ops::are_codes(type), "x is numbers"));
  }
  RL_TRY(need(is_16_bit(type), "rounds to 16 bits"));
  return supports_output<kOutput>(args, type);
}
template <StreamOutput kOutput>
StreamParams fused_params(const FusedLinearArgs& args) {
  StreamParams params = stream_params(args.product);
  params.output = kOutput;
  if (args.norm) {
    const ops::RmsNormArgs& norm = *args.norm;
    params.input = StreamInput::norm;
    params.type = norm.scales ? norm.rounded : norm.out.dtype;
    params.norm = norm_params(norm);
  }
  if constexpr (kOutput == StreamOutput::silu) params.product.out = args.silu_mul->out.data;
  if constexpr (kOutput == StreamOutput::rope) params.rope = rope_params(*args.rope_append);
  return params;
}
template <StreamOutput kOutput>
Status launch_fused(const FusedLinearArgs& args, void*, Stream& stream) {
  return check(linear_stream(fused_params<kOutput>(args), handle_of(stream)), "linear_stream");
}

// Where a stream takes the product, a product by itself has its bits; sums of int8 have them anyway.
template <StreamOutput kOutput>
Status supports_fused_batch(const FusedLinearArgs& args, const Arch& arch) {
  RL_TRY((supports_parts<false, kOutput>(args)));
  RL_TRY(need(input_type(args.product) == DType::i8 || !supports_stream(args.product, arch),
              "takes what a stream does not"));
  RL_TRY(supports_batch(args.product, arch));
  return supports_output<kOutput>(args, batch_type(args.product));
}
Bytes fused_batch_workspace(const FusedLinearArgs& args) { return quantized_bytes(args.product); }
template <StreamOutput kOutput>
Status launch_fused_batch(const FusedLinearArgs& args, void* workspace, Stream& stream) {
  return launch_batch_of(args.product, fused_params<kOutput>(args), workspace, stream);
}

Gemm gemm_of(const LinearArgs& args) {
  return {.x = args.x.data,
          .w = args.weight.data,
          .out = args.out.data,
          .type = weight_type(args),
          .out_type = args.out.dtype,
          .tokens = args.x.shape[0],
          .rows = args.weight.rows,
          .cols = args.weight.cols,
          .x_stride = args.x.strides[0],
          .w_stride = args.weight.cols,
          .out_stride = args.weight.rows,
          .accumulate = args.accumulate};
}
template <int kProposal>
Status supports_cublaslt(const LinearArgs& args, const Arch& arch) {
  RL_TRY(supports_rows(args, arch));
  RL_TRY(supports_vectors(args));
  RL_TRY(need(is_16_bit(weight_type(args)) && args.x.dtype == weight_type(args), "16-bit numbers of one type"));
  RL_TRY(need(args.out.dtype == args.x.dtype || args.out.dtype == DType::f32, "out has the type of x, or f32"));
  RL_TRY(need(!args.bias, "has no bias in f32"));
  return can_multiply(gemm_of(args), kProposal);
}
Bytes cublaslt_workspace(const LinearArgs&) { return kGemmWorkspace; }
template <int kProposal>
Status launch_cublaslt(const LinearArgs& args, void* workspace, Stream& stream) {
  return multiply(gemm_of(args), workspace, handle_of(stream), kProposal);
}

// e4m3 with a scale per token and row, which the library has for 9.0 alone.
Gemm fp8_gemm_of(const LinearArgs& args, const LinearParams& params) {
  Gemm gemm = gemm_of(args);
  gemm.x = params.x;
  gemm.x_stride = params.x_stride;
  gemm.x_scale = params.x_scale;
  gemm.w_scale = params.w_scale;
  return gemm;
}
template <int kProposal>
Status supports_cublaslt_fp8(const LinearArgs& args, const Arch& arch) {
  RL_TRY(supports_rows(args, arch));
  RL_TRY(supports_vectors(args));
  RL_TRY(need(input_type(args) == DType::f8_e4m3 && !blocked(args), "e4m3 with scales per token and row"));
  RL_TRY(need(arch.version == 90, "needs compute capability 9.0"));
  RL_TRY(need(args.weight.rows % 16 == 0, "rows are a multiple of 16"));
  RL_TRY(need(!args.bias, "has no bias in f32"));
  LinearParams params = plain_params(args);
  params.x_scale = params.w_scale;  // for the shape's sake
  params.x_stride = params.cols;
  return can_multiply(fp8_gemm_of(args, params), kProposal);
}
Bytes cublaslt_fp8_workspace(const LinearArgs& args) { return kGemmWorkspace + quantized_bytes(args); }
template <int kProposal>
Status launch_cublaslt_fp8(const LinearArgs& args, void* workspace, Stream& stream) {
  void* const quantized = static_cast<std::byte*>(workspace) + kGemmWorkspace.count;
  RL_ASSIGN(const LinearParams params, prepare(args, quantized, stream));
  return multiply(fp8_gemm_of(args, params), workspace, handle_of(stream), kProposal);
}

// Sums by the library, as many tokens at a time as stay in a cache of tens of MB; scales, bias and rounding by our own
// kernel. Of int8 they are exact, whatever the batch.
constexpr std::int64_t kSumsBytes = 32 << 20, kLeastSumTokens = 128;

std::int64_t sum_tokens(const LinearArgs& args) {
  const std::int64_t fit = kSumsBytes / (args.weight.rows * 4) / kLeastSumTokens * kLeastSumTokens;
  return std::min(args.x.shape[0], std::max(fit, kLeastSumTokens));
}
Bytes sums_bytes(const LinearArgs& args) { return {round_up(sum_tokens(args) * args.weight.rows * 4, kAlignment)}; }
// x and the weight of `params`, which are of one type.
Gemm sums_of(const LinearArgs& args, const LinearParams& params, std::int64_t first, std::int64_t tokens, void* sums) {
  Gemm gemm = gemm_of(args);
  gemm.type = params.weight_type;
  gemm.x = static_cast<const std::byte*>(params.x) + first * params.x_stride * size_of(gemm.type);
  gemm.w = params.weight;
  gemm.x_stride = params.x_stride;
  gemm.tokens = tokens;
  gemm.out = sums;
  gemm.out_type = gemm.type == DType::i8 ? DType::i32 : DType::f32;
  gemm.accumulate = false;
  return gemm;
}
// The last part of the tokens can be a shape of its own.
Status can_sum(const LinearArgs& args, const LinearParams& params) {
  const std::int64_t part = sum_tokens(args), rest = args.x.shape[0] % part;
  RL_TRY(can_multiply(sums_of(args, params, 0, part, nullptr)));
  return rest == 0 ? ok() : can_multiply(sums_of(args, params, 0, rest, nullptr));
}
Status sum_and_finish(const LinearArgs& args, const LinearParams& params, void* sums, void* gemm_workspace,
                      Stream& stream) {
  const std::int64_t part = sum_tokens(args);
  for (std::int64_t first = 0; first < args.x.shape[0]; first += part) {
    const std::int64_t tokens = std::min(part, args.x.shape[0] - first);
    RL_TRY(multiply(sums_of(args, params, first, tokens, sums), gemm_workspace, handle_of(stream)));
    LinearParams these = params;
    if (these.x_scale != nullptr) these.x_scale += first;
    these.out = static_cast<std::byte*>(params.out) + first * args.weight.rows * size_of(args.out.dtype);
    these.tokens = static_cast<int>(tokens);
    RL_TRY(check(finish_sums(these, sums, params.weight_type == DType::i8, handle_of(stream)), "finish_sums"));
  }
  return ok();
}
Status supports_sums(const LinearArgs& args, const Arch& arch) {
  RL_TRY(supports_rows(args, arch));
  RL_TRY(supports_vectors(args));
  RL_TRY(need(args.weight.rows % 16 == 0, "rows are a multiple of 16"));
  LinearParams params = plain_params(args);
  if (quantizes(args)) params.x_stride = params.cols;
  return can_sum(args, params);
}
Bytes sums_workspace(const LinearArgs& args) { return kGemmWorkspace + sums_bytes(args) + quantized_bytes(args); }
Status launch_sums(const LinearArgs& args, void* workspace, Stream& stream) {
  auto* const sums = static_cast<std::byte*>(workspace) + kGemmWorkspace.count;
  RL_ASSIGN(const LinearParams params, prepare(args, sums + sums_bytes(args).count, stream));
  return sum_and_finish(args, params, sums, workspace, stream);
}
Status supports_cublaslt_int8(const LinearArgs& args, const Arch& arch) {
  RL_TRY(need(args.weight.format == quant::Format::int8, "int8 weights and inputs"));
  return supports_sums(args, arch);
}
// The library has scales per tensor wherever it has e4m3, those per token and row not.
Status supports_cublaslt_fp8_sums(const LinearArgs& args, const Arch& arch) {
  RL_TRY(need(input_type(args) == DType::f8_e4m3 && !blocked(args), "e4m3 with scales per token and row"));
  RL_TRY(need(arch.version >= 89, "needs compute capability 8.9"));
  return supports_sums(args, arch);
}

// Weight-only codes are widened into the workspace; their scales are the product's.
Bytes widened_bytes(const LinearArgs& args) {
  return weight_only(args) ? Bytes{round_up(args.weight.rows * args.weight.cols * 2, kAlignment)} : Bytes{};
}
// The product with its weight there, of the type of x.
LinearParams widened(LinearParams params, const void* weight) {
  params.weight = weight;
  params.weight_type = params.x_type;
  params.new_weight = true;
  return params;
}
Status widen_weight(const LinearArgs& args, void* to, Stream& stream) {
  return check(widen({.codes = args.weight.data,
                      .out = to,
                      .type = weight_type(args),
                      .out_type = args.x.dtype,
                      .n = args.weight.rows * args.weight.cols},
                     handle_of(stream)),
               "widen");
}

// The library's product of the widened codes. Widening costs as much as reading the weights five times, which many
// tokens make good.
Status supports_cublaslt_widened(const LinearArgs& args, const Arch& arch) {
  RL_TRY(supports_rows(args, arch));
  RL_TRY(supports_vectors(args));
  RL_TRY(need(weight_only(args) && is_16_bit(args.x.dtype), "8-bit weights and 16-bit inputs"));
  RL_TRY(need(args.weight.rows % 4 == 0, "rows are a multiple of 4"));
  return can_sum(args, widened(plain_params(args), nullptr));
}
Bytes widened_workspace(const LinearArgs& args) { return kGemmWorkspace + sums_bytes(args) + widened_bytes(args); }
Status launch_cublaslt_widened(const LinearArgs& args, void* workspace, Stream& stream) {
  auto* const sums = static_cast<std::byte*>(workspace) + kGemmWorkspace.count;
  std::byte* const weight = sums + sums_bytes(args).count;
  RL_TRY(widen_weight(args, weight, stream));
  return sum_and_finish(args, widened(plain_params(args), weight), sums, workspace, stream);
}

Status supports_tiled(const LinearArgs& args, const Arch& arch) {
  RL_TRY(supports_rows(args, arch));
  RL_TRY(supports_vectors(args));
  RL_TRY(supports_types(args));
  return need(input_type(args) != DType::f8_e4m3 || arch.version >= 89, "e4m3 needs compute capability 8.9");
}
Bytes tiled_workspace(const LinearArgs& args) { return quantized_bytes(args) + widened_bytes(args); }
Status launch_tiled(const LinearArgs& args, void* workspace, Stream& stream) {
  RL_ASSIGN(LinearParams params, prepare(args, workspace, stream));
  if (weight_only(args)) {
    RL_TRY(widen_weight(args, workspace, stream));
    params = widened(params, workspace);
  }
  if (params.x_type == DType::f8_e4m3) return check(linear_tiled_fp8(params, handle_of(stream)), "linear_tiled_fp8");
  return check(linear_tiled(params, handle_of(stream)), "linear_tiled");
}

// What 9.0's units cut off, as of kLibraryFp8: a block of columns is four of their steps.
constexpr ops::Facts kWgmmaFp8{
    .graph_safe = true, .pdl_safe = true, .deterministic = true, .sum_error = kLibraryFp8.sum_error};

template <DType kCodes, WgmmaTokens kTokens>
Status supports_wgmma(const LinearArgs& args, const Arch& arch) {
  RL_TRY(supports_rows(args, arch));
  RL_TRY(need(arch.version == 90, "needs compute capability 9.0"));
  RL_TRY(need(input_type(args) == kCodes && blocked(args) == (kCodes == DType::f8_e4m3), "int8, or e4m3 in blocks"));
  RL_TRY(need(args.weight.rows % 16 == 0, "rows are a multiple of 16"));
  constexpr std::int64_t kLeast = kTokens == WgmmaTokens::k256 ? 128 : kSkinnyTokens;
  RL_TRY(need(args.x.shape[0] > kLeast, "takes more tokens"));
  return supports_vectors(args);
}
template <WgmmaTokens kTokens>
Status launch_wgmma(const LinearArgs& args, void* workspace, Stream& stream) {
  RL_ASSIGN(const LinearParams params, prepare(args, workspace, stream));
  return check(linear_wgmma(params, kTokens, handle_of(stream)), "linear_wgmma");
}
template <DType kCodes, WgmmaTokens kTokens>
constexpr ops::Variant<LinearArgs> wgmma(const char* name) {
  return {name, kCodes == DType::i8 ? kOwn : kWgmmaFp8, supports_wgmma<kCodes, kTokens>, quantized_bytes,
          launch_wgmma<kTokens>};
}

Status launch_simple(const LinearArgs& args, void* workspace, Stream& stream) {
  RL_ASSIGN(const LinearParams params, prepare(args, workspace, stream));
  return check(linear_simple(params, handle_of(stream)), "linear_simple");
}

template <int kProposal>
constexpr ops::Variant<LinearArgs> cublaslt(const char* name) {
  return {name, kLibrary, supports_cublaslt<kProposal>, cublaslt_workspace, launch_cublaslt<kProposal>};
}
template <int kProposal>
constexpr ops::Variant<LinearArgs> cublaslt_fp8(const char* name) {
  return {name, kLibraryFp8, supports_cublaslt_fp8<kProposal>, cublaslt_fp8_workspace, launch_cublaslt_fp8<kProposal>};
}

// The library's other proposals are for a measurement to choose: its first one comes before them wherever there is any.
static_assert(kGemmProposals == 4);
constexpr ops::Variant<LinearArgs> kVariants[] = {
    {"linear/cuda.stream", kOwn, supports_stream, no_workspace, launch_stream},
    {"linear/cuda.batch", kBatch, supports_batch, quantized_bytes, launch_batch},
    {"linear/cuda.skinny", kOwn, supports_skinny, quantized_bytes, launch_skinny},
    cublaslt<0>("linear/cuda.cublaslt"),
    cublaslt_fp8<0>("linear/cuda.cublaslt_fp8"),
    {"linear/cuda.cublaslt_fp8_sums", kLibraryFp8, supports_cublaslt_fp8_sums, sums_workspace, launch_sums},
    wgmma<DType::i8, WgmmaTokens::k256>("linear/cuda.wgmma_int8"),
    wgmma<DType::i8, WgmmaTokens::k128>("linear/cuda.wgmma_int8_128"),
    wgmma<DType::f8_e4m3, WgmmaTokens::k256>("linear/cuda.wgmma_fp8_block"),
    wgmma<DType::f8_e4m3, WgmmaTokens::k128>("linear/cuda.wgmma_fp8_block_128"),
    {"linear/cuda.cublaslt_int8", kOwn, supports_cublaslt_int8, sums_workspace, launch_sums},
    {"linear/cuda.cublaslt_widened", kLibrary, supports_cublaslt_widened, widened_workspace, launch_cublaslt_widened},
    {"linear/cuda.tiled", kOwn, supports_tiled, tiled_workspace, launch_tiled},
    cublaslt<1>("linear/cuda.cublaslt_second"),
    cublaslt<2>("linear/cuda.cublaslt_third"),
    cublaslt<3>("linear/cuda.cublaslt_fourth"),
    cublaslt_fp8<1>("linear/cuda.cublaslt_fp8_second"),
    cublaslt_fp8<2>("linear/cuda.cublaslt_fp8_third"),
    cublaslt_fp8<3>("linear/cuda.cublaslt_fp8_fourth"),
    // Last, so that it has to gain to be chosen: in a step it takes up to 7 us more than alone (docs/performance.md).
    {"linear/cuda.batch_64", kBatch, supports_batch_64, quantized_bytes, launch_batch},
    {"linear/cuda.simple", kOwn, supports_rows, quantized_bytes, launch_simple},
};

template <bool kNorm, StreamOutput kOutput>
constexpr ops::Variant<FusedLinearArgs> fused(const char* name) {
  return {name, kOwn, supports_fused<kNorm, kOutput>, no_workspace, launch_fused<kOutput>};
}
template <StreamOutput kOutput>
constexpr ops::Variant<FusedLinearArgs> fused_batch(const char* name) {
  return {name, kBatch, supports_fused_batch<kOutput>, fused_batch_workspace, launch_fused_batch<kOutput>};
}
constexpr ops::Variant<FusedLinearArgs> kFused[] = {
    fused<true, StreamOutput::rope>("fused_linear/cuda.norm_stream_rope"),
    fused<true, StreamOutput::silu>("fused_linear/cuda.norm_stream_silu"),
    fused<true, StreamOutput::plain>("fused_linear/cuda.norm_stream"),
    fused<false, StreamOutput::rope>("fused_linear/cuda.stream_rope"),
    fused<false, StreamOutput::silu>("fused_linear/cuda.stream_silu"),
    fused_batch<StreamOutput::rope>("fused_linear/cuda.batch_rope"),
    fused_batch<StreamOutput::silu>("fused_linear/cuda.batch_silu"),
};

}  // namespace

std::span<const ops::Variant<LinearArgs>> linear_variants() { return kVariants; }
std::span<const ops::Variant<FusedLinearArgs>> fused_linear_variants() { return kFused; }

}  // namespace rl::cuda
