// attention in fp32 for any type and head_dim up to 512: a warp per query and head walks over the keys with an online
// softmax, each lane holding head_dim / 32 elements of query and result.

#include "cuda/kernels/attention/paged.cuh"
#include "cuda/kernels/common/element.cuh"
#include "cuda/ptx/ptx.h"

namespace rl::cuda {
namespace {

constexpr int kThreads = 128, kMostPerLane = 16;

// A cache of e4m3 codes is read as what they say.
template <class T, class Cache, class Out>
__global__ void __launch_bounds__(kThreads) simple_kernel(AttentionParams p) {
  ptx::wait_for_predecessors();
  ptx::let_successors_begin();
  const int lane = threadIdx.x % 32, head = blockIdx.y, kv_head = head / (p.heads / p.kv_heads);
  const Sequence seq = sequence_of(p, blockIdx.z);
  const int query = static_cast<int>(blockIdx.x) * (kThreads / 32) + static_cast<int>(threadIdx.x) / 32;
  if (query >= seq.queries) return;
  const std::int32_t* const pages = p.page_table + blockIdx.z * p.page_table_stride;
  const T* const q = static_cast<const T*>(p.q) + (seq.first_q + query) * p.q_stride + head * p.head_dim;
  float mine[kMostPerLane], out[kMostPerLane] = {};
#pragma unroll
  for (int i = 0; i < kMostPerLane; ++i) {
    const int d = lane + 32 * i;
    mine[i] = d < p.head_dim ? to_float(q[d]) : 0.0f;
  }
  const int position = seq.position(query);
  const int first = first_key(p, position), end = min(end_key(p, position, seq.kv_len), seq.kv_len);
  float most = -INFINITY, sum = 0;
  for (int token = first; token < end; ++token) {
    const std::int64_t page = pages[token / p.page_tokens];
    const std::int64_t row = ((page * p.kv_heads + kv_head) * p.page_tokens + token % p.page_tokens) * p.head_dim;
    const Cache *k = static_cast<const Cache*>(p.k_pages) + row, *v = static_cast<const Cache*>(p.v_pages) + row;
    float dot = 0;
#pragma unroll
    for (int i = 0; i < kMostPerLane; ++i) {
      const int d = lane + 32 * i;
      if (d < p.head_dim) dot = fmaf(mine[i], to_float(k[d]), dot);
    }
    const float score = warp_sum(dot) * p.scale;
    const float larger = fmaxf(most, score), shrink = expf(most - larger), weight = expf(score - larger);
    most = larger;
    sum = fmaf(sum, shrink, weight);
#pragma unroll
    for (int i = 0; i < kMostPerLane; ++i) {
      const int d = lane + 32 * i;
      if (d < p.head_dim) out[i] = fmaf(out[i], shrink, weight * to_float(v[d]));
    }
  }
  Out* const to =
      static_cast<Out*>(p.out) + (static_cast<std::int64_t>(seq.first_q + query) * p.heads + head) * p.head_dim;
#pragma unroll
  for (int i = 0; i < kMostPerLane; ++i) {
    const int d = lane + 32 * i;
    if (d < p.head_dim) to[d] = from_float<Out>(out[i] / sum);
  }
}

template <class T, class Cache>
cudaError_t run_cache(const AttentionParams& p, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>((p.max_q + kThreads / 32 - 1) / (kThreads / 32)),
                  static_cast<unsigned>(p.heads), static_cast<unsigned>(p.seqs));
  switch (p.out_type) {
    case DType::bf16:
      return launch(simple_kernel<T, Cache, __nv_bfloat16>, grid, kThreads, 0, stream, p);
    case DType::f16:
      return launch(simple_kernel<T, Cache, __half>, grid, kThreads, 0, stream, p);
    default:
      return launch(simple_kernel<T, Cache, float>, grid, kThreads, 0, stream, p);
  }
}

template <class T>
cudaError_t run(const AttentionParams& p, cudaStream_t stream) {
  return p.cache_type == DType::f8_e4m3 ? run_cache<T, __nv_fp8_e4m3>(p, stream) : run_cache<T, T>(p, stream);
}

}  // namespace

cudaError_t attention_simple(const AttentionParams& p, cudaStream_t stream) {
  switch (p.type) {
    case DType::bf16:
      return run<__nv_bfloat16>(p, stream);
    case DType::f16:
      return run<__half>(p, stream);
    default:
      return run<float>(p, stream);
  }
}

}  // namespace rl::cuda
