// The steps of standard attention beside its products: keys or values of one sequence out of their pages, and softmax
// over whole rows of scores. Bytes: gather reads and writes each element once; softmax reads 4 bytes a score and
// writes 2.

#include "cuda/kernels/attention/paged.cuh"
#include "cuda/kernels/common/element.cuh"
#include "cuda/ptx/ptx.h"

namespace rl::cuda {
namespace {

constexpr int kThreads = 256;

// 16 bytes at a time: head_dim is a multiple of 8.
__global__ void __launch_bounds__(kThreads) gather_kernel(GatherParams p) {
  ptx::wait_for_predecessors();
  ptx::let_successors_begin();
  const int chunks = p.head_dim / 8, kv_head = blockIdx.y;
  const std::int64_t n = static_cast<std::int64_t>(p.kv_tokens) * chunks;
  const auto* from = static_cast<const uint4*>(p.pages);
  auto* to = static_cast<uint4*>(p.out) + kv_head * n;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < n;
       i += static_cast<std::int64_t>(gridDim.x) * kThreads) {
    const int token = static_cast<int>(i / chunks), chunk = static_cast<int>(i % chunks);
    const std::int64_t page = p.page_table[token / p.page_tokens];
    to[i] = from[((page * p.kv_heads + kv_head) * p.page_tokens + token % p.page_tokens) * chunks + chunk];
  }
}

// A block per row. The row is read three times; twice from cache.
template <class T>
__global__ void __launch_bounds__(kThreads) softmax_kernel(SoftmaxParams p) {
  __shared__ float shared[kThreads / 32];
  ptx::wait_for_predecessors();
  ptx::let_successors_begin();
  const int query = blockIdx.x, position = p.kv_tokens - p.queries + query;
  const int first = p.window > 0 ? max(0, position + 1 - p.window) : 0, end = p.causal ? position + 1 : p.kv_tokens;
  const std::int64_t row = (static_cast<std::int64_t>(blockIdx.y) * p.queries + query) * p.kv_tokens;
  const float* score = p.scores + row;
  T* weight = static_cast<T*>(p.weights) + row;
  const float scale = p.scale * kLog2e;
  float most = -INFINITY;
  for (int i = first + static_cast<int>(threadIdx.x); i < end; i += kThreads) most = fmaxf(most, score[i]);
  most = warp_max(most);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = most;
  __syncthreads();
#pragma unroll
  for (int w = 0; w < kThreads / 32; ++w) most = fmaxf(most, shared[w]);
  __syncthreads();
  float sum = 0;
  for (int i = first + static_cast<int>(threadIdx.x); i < end; i += kThreads)
    sum += exp2f(fmaf(score[i], scale, -most * scale));
  const float inverse = 1.0f / block_sum<kThreads>(sum, shared);
  for (int i = threadIdx.x; i < p.kv_tokens; i += kThreads)
    weight[i] = from_float<T>(i >= first && i < end ? exp2f(fmaf(score[i], scale, -most * scale)) * inverse : 0.0f);
}

}  // namespace

cudaError_t gather_pages(const GatherParams& p, cudaStream_t stream) {
  const std::int64_t n = static_cast<std::int64_t>(p.kv_tokens) * (p.head_dim / 8);
  const dim3 grid(static_cast<unsigned>((n + kThreads - 1) / kThreads), static_cast<unsigned>(p.kv_heads));
  return launch(gather_kernel, grid, kThreads, 0, stream, p);
}

cudaError_t softmax_rows(const SoftmaxParams& p, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(p.queries), static_cast<unsigned>(p.heads));
  return p.type == DType::bf16 ? launch(softmax_kernel<__nv_bfloat16>, grid, kThreads, 0, stream, p)
                               : launch(softmax_kernel<__half>, grid, kThreads, 0, stream, p);
}

}  // namespace rl::cuda
