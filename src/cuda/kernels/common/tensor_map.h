#pragma once
// Maps of tensors in device memory, for copies of boxes of them (ptx/tensor_copy.h).

#include <cuda.h>
#include <cuda_runtime_api.h>

#include "tensor/dtype.h"

namespace rl::cuda {

// Innermost dimension first, in elements; strides in bytes, multiples of 16, of all dimensions but the first. A box is
// up to 256 elements in each, and 128 bytes in the innermost.
template <int kRank>
struct Tensor {
  cuuint64_t sizes[kRank], strides[kRank - 1];
  cuuint32_t box[kRank];
};

// Of 16-bit types or of codes, at a multiple of 16 bytes. In shared memory a row of a box is 128 bytes, whose 16-byte
// chunks lie as common/smem.cuh has them. Errors: cudaErrorNotSupported where the driver has no tensor maps,
// cudaErrorInvalidValue for what a map does not take.
template <int kRank>
cudaError_t make_map(CUtensorMap& map, DType type, const void* data, const Tensor<kRank>& tensor) {
  static const auto encode = [] {
    constexpr unsigned kSince = 12000;
    void* address = nullptr;
    cudaDriverEntryPointQueryResult found{};
    if (cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &address, kSince, cudaEnableDefault, &found) !=
            cudaSuccess ||
        found != cudaDriverEntryPointSuccess)
      address = nullptr;
    return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(address);
  }();
  if (encode == nullptr) return cudaErrorNotSupported;
  constexpr cuuint32_t kOnes[] = {1, 1, 1, 1, 1};
  const auto element = type == DType::bf16  ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
                       : type == DType::f16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                                            : CU_TENSOR_MAP_DATA_TYPE_UINT8;
  const CUresult code = encode(&map, element, kRank, const_cast<void*>(data), tensor.sizes, tensor.strides, tensor.box,
                               kOnes, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                               CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return code == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

}  // namespace rl::cuda
