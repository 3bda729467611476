#pragma once
// Matrix products of cuBLASLt, which is loaded at run time: a machine without it does all products with our own
// kernels.

#include <cuda_runtime_api.h>

#include "base/result.h"
#include "base/units.h"
#include "tensor/dtype.h"

namespace rl::cuda {

// out[b] = x[b] w[b]^T (+ out[b] if `accumulate`), all row-major; or x[b] w[b] where `w_by_columns` is false.
struct Gemm {
  const void *x = nullptr, *w = nullptr;  // x [tokens, cols]; w [rows, cols], or [cols, rows]
  void* out = nullptr;                    // [tokens, rows]
  DType type = DType::bf16;               // of x and w: bf16, f16, f32 or f8_e4m3
  DType out_type = DType::bf16;
  std::int64_t tokens = 0, rows = 0, cols = 0;
  std::int64_t x_stride = 0, w_stride = 0, out_stride = 0;  // between rows, in elements
  bool w_by_columns = true;
  bool accumulate = false;
  const float *x_scale = nullptr, *w_scale = nullptr;  // e4m3: [tokens] and [rows]
  int batch = 1;
  std::int64_t x_batch = 0, w_batch = 0, out_batch = 0;  // between products of the batch, in elements
};

// What a product may use, 256-byte aligned.
inline constexpr Bytes kGemmWorkspace{32 << 20};

// Why there is no cuBLASLt, or success. Loads it at the first call.
Status cublaslt_there();
// Its version (130002 for 13.0.2); 0 if it is not there.
std::int64_t cublaslt_version();
// Enqueues the product. The algorithm is the library's first choice for the shape, asked once. Errors: unsupported
// where the library has none; device.
Status multiply(const Gemm& gemm, void* workspace, cudaStream_t stream);

}  // namespace rl::cuda
