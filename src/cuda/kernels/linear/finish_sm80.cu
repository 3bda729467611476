// finish_sums: what our own products do in their last step, for sums that a library has made. Bytes: 4 for a sum, and
// the output's.

#include "cuda/kernels/linear/epilogue.cuh"
#include "cuda/kernels/linear/finish.h"
#include "cuda/ptx/ptx.h"

namespace rl::cuda {
namespace {

constexpr int kThreads = 256, kN = 4;

// y: the token.
template <class Sum, class Out>
__global__ void __launch_bounds__(kThreads) finish_kernel(LinearParams p, const Sum* sums) {
  const int row = (static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x)) * kN;
  if (row >= p.rows) return;
  float bias[kN] = {};
  if (p.bias != nullptr) {
#pragma unroll
    for (int j = 0; j < kN; ++j) bias[j] = p.bias[row + j];
  }
  ptx::wait_for_predecessors();
  ptx::let_successors_begin();
  const std::int64_t token = blockIdx.y, at = token * p.rows + row;
  const Vector<Sum, kN> sum = vector_at<kN>(sums, at);
  Out* out = static_cast<Out*>(p.out);
  Vector<Out, kN> y;
#pragma unroll
  for (int j = 0; j < kN; ++j) {
    float value = scaled(p, token, row + j, sum.at[j]);
    if (p.bias != nullptr) value = __fadd_rn(value, bias[j]);
    if constexpr (sizeof(Out) == 4) {
      if (p.accumulate) value = __fadd_rn(value, out[at + j]);
    }
    y.at[j] = from_float<Out>(value);
  }
  vector_at<kN>(out, at) = y;
}

template <class Sum>
cudaError_t run(const LinearParams& p, const void* sums, cudaStream_t stream) {
  constexpr int kPerBlock = kThreads * kN;
  const dim3 grid(static_cast<unsigned>((p.rows + kPerBlock - 1) / kPerBlock), static_cast<unsigned>(p.tokens));
  const auto* const typed = static_cast<const Sum*>(sums);
  switch (p.out_type) {
    case DType::bf16:
      return launch(finish_kernel<Sum, __nv_bfloat16>, grid, kThreads, 0, stream, p, typed);
    case DType::f16:
      return launch(finish_kernel<Sum, __half>, grid, kThreads, 0, stream, p, typed);
    default:
      return launch(finish_kernel<Sum, float>, grid, kThreads, 0, stream, p, typed);
  }
}

}  // namespace

cudaError_t finish_sums(const LinearParams& p, const void* sums, bool integers, cudaStream_t stream) {
  return integers ? run<int>(p, sums, stream) : run<float>(p, sums, stream);
}

}  // namespace rl::cuda
