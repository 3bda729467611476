#pragma once
// Matrix products of cuBLASLt, which is loaded at run time: a machine without it does all products with our own
// kernels.

#include <cuda_runtime_api.h>

#include "base/result.h"
#include "base/units.h"
#include "tensor/dtype.h"

namespace rl::cuda {

// out = x w^T (+ out if `accumulate`), all row-major.
struct Gemm {
  const void *x = nullptr, *w = nullptr;  // [tokens, cols], [rows, cols]
  void* out = nullptr;                    // [tokens, rows]
  DType type = DType::bf16;               // of x and w: bf16, f16, f32, f8_e4m3 or i8
  DType out_type = DType::bf16;           // i8: i32, exact sums
  std::int64_t tokens = 0, rows = 0, cols = 0;
  std::int64_t x_stride = 0, w_stride = 0, out_stride = 0;  // between rows, in elements
  bool accumulate = false;
  const float *x_scale = nullptr, *w_scale = nullptr;  // e4m3: [tokens] and [rows], or both null: no scales
};

// The library proposes several algorithms for a shape, in the order of its own estimates.
inline constexpr int kGemmProposals = 4;

// What a product may use, 256-byte aligned.
inline constexpr Bytes kGemmWorkspace{32 << 20};

// Why there is no cuBLASLt, or success. Loads it at the first call.
Status cublaslt_there();
// Why the library cannot do a product of this shape by this proposal, or success. Addresses are not looked at.
Status can_multiply(const Gemm& gemm, int proposal = 0);
// Enqueues the product. Its description and the algorithms are asked for once a shape. Errors: unsupported where the
// library has no such proposal; device.
Status multiply(const Gemm& gemm, void* workspace, cudaStream_t stream, int proposal = 0);

}  // namespace rl::cuda
