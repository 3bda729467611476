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
  DType type = DType::bf16;               // of x and w: bf16, f16, f32 or f8_e4m3
  DType out_type = DType::bf16;
  std::int64_t tokens = 0, rows = 0, cols = 0;
  std::int64_t x_stride = 0, w_stride = 0, out_stride = 0;  // between rows, in elements
  bool accumulate = false;
  const float *x_scale = nullptr, *w_scale = nullptr;  // e4m3: [tokens] and [rows]
};

// What a product may use, 256-byte aligned.
inline constexpr Bytes kGemmWorkspace{32 << 20};

// Why there is no cuBLASLt, or success. Loads it at the first call.
Status cublaslt_there();
// Why the library cannot do a product of this shape, or success. Addresses are not looked at.
Status can_multiply(const Gemm& gemm);
// Enqueues the product. The algorithm is the library's first choice for the shape, asked once. Errors: unsupported
// where the library has none; device.
Status multiply(const Gemm& gemm, void* workspace, cudaStream_t stream);

}  // namespace rl::cuda
