#pragma once
// linear: out = x W^T + bias, or out += (ops/linear.h). W row-major [rows, cols].

#include "cuda/kernels/common/launch.h"

namespace rl::cuda {

struct LinearParams {
  const void* x;         // [tokens, cols], of `x_type`, rows x_stride elements apart
  const void* weight;    // [rows, weight_stride], of `weight_type`
  const float* x_scale;  // [tokens] where x is int8 or fp8, else null
  const float* w_scale;  // [rows] where the weight is int8 or fp8, else null
  const float* bias;     // [rows] or null
  void* out;             // [tokens, rows], of `out_type`
  DType x_type, weight_type, out_type;
  bool accumulate;  // out is f32
  int tokens, rows, cols;
  std::int64_t x_stride, weight_stride;
};

// A warp per 16 rows of W, its columns dealt to the warps of a block; 1 to 16 tokens. 16-bit types and int8.
// Needs cols a multiple of skinny_cols(weight_type) and rows of x and W aligned to 16 bytes.
constexpr int kSkinnyTokens = 16;
constexpr int skinny_cols(DType weight) { return weight == DType::i8 ? 64 : 32; }
cudaError_t linear_skinny(const LinearParams& params, cudaStream_t stream);

// Tiles of 128 x 128 with mma.sync; any number of tokens. 16-bit types and int8; cols a multiple of 8 (16 for int8).
cudaError_t linear_tiled(const LinearParams& params, cudaStream_t stream);

// Any types and sizes, in fp32 (int32 for int8): the last resort, and what fp32 runs on.
cudaError_t linear_simple(const LinearParams& params, cudaStream_t stream);

}  // namespace rl::cuda
