#pragma once
// linear: out = x W^T + bias, or out += (ops/linear.h). W row-major [rows, cols].

#include "cuda/kernels/common/launch.h"

namespace rl::cuda {

struct LinearParams {
  const void* x;       // [tokens, cols], of `x_type`, rows x_stride elements apart
  const void* weight;  // [rows, cols], of `weight_type`
  // Scales of W8A8: x_scale [tokens], w_scale [rows]; blocked: x_scale [tokens, blocks], w_scale [row blocks, blocks]
  // with 128 columns and rows to a block. Weight only: w_scale [rows] alone. Else both null.
  const float* x_scale;
  const float* w_scale;
  bool blocked;
  const float* bias;  // [rows] or null
  void* out;          // [tokens, rows], of `out_type`
  DType x_type, weight_type, out_type;
  bool accumulate;          // out is f32
  bool new_weight = false;  // a kernel before this one writes the weight: it is not read before that ended
  int tokens, rows, cols;
  std::int64_t x_stride;
};

constexpr int kScaleBlock = 128;
constexpr int blocks_of(int n) { return (n + kScaleBlock - 1) / kScaleBlock; }

// 16 rows of W to a block of threads, whose warps share the columns; 1 to 16 tokens. Any format but f32; x has the type
// of W, or W 8 bits and x 16 (weight only), or both 8 (W8A8).
// Needs 16-byte aligned rows: cols a multiple of 16 / the smaller element's size.
constexpr int kSkinnyTokens = 16;
cudaError_t linear_skinny(const LinearParams& params, cudaStream_t stream);

// Tiles of 128 tokens x 128 rows with mma.sync; any number of tokens. x and W of one type: 16 bits, or int8. A w_scale
// without an x_scale is applied to 16-bit products as well (a weight-only W, widened before). Alignment as above.
cudaError_t linear_tiled(const LinearParams& params, cudaStream_t stream);
// The same of e4m3, with or without blocks: mma.sync of 8.9 and newer.
cudaError_t linear_tiled_fp8(const LinearParams& params, cudaStream_t stream);

// Any types and sizes, in fp32 (int32 for int8): the last resort, and what fp32 runs on.
cudaError_t linear_simple(const LinearParams& params, cudaStream_t stream);

// Activations to int8 or e4m3 as num/int8.h and num/fp8.h have it.
struct QuantizeParams {
  const void* x;  // [tokens, cols], of `x_type`: f32, bf16 or f16
  void* q;        // [tokens, cols], of `q_type`: i8 or f8_e4m3
  float* scale;   // [tokens], or blocked [tokens, blocks_of(cols)]
  DType x_type, q_type;
  bool blocked;
  int tokens, cols;
  std::int64_t x_stride;
};
cudaError_t quantize_rows(const QuantizeParams& params, cudaStream_t stream);

// 8-bit codes to a 16-bit type, exactly; scales are left to the product.
struct WidenParams {
  const void* codes;  // [n], i8 or f8_e4m3
  void* out;          // [n], bf16 or f16
  DType type, out_type;
  std::int64_t n;
};
cudaError_t widen(const WidenParams& params, cudaStream_t stream);

}  // namespace rl::cuda
