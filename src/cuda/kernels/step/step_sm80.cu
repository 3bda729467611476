// feed and deliver (ops/step_io.h) through the host's pinned memory. A decode step of one sequence feeds less than 1
// KB: one round trip over the bus for the block, at 16 bytes a thread, four loads in flight where it is larger. The
// host's words are read past the caches: it wrote them since they were last read.

#include "cuda/kernels/step/step.h"
#include "cuda/ptx/ptx.h"

namespace rl::cuda {
namespace {

constexpr int kMostThreads = 1024, kUnroll = 4;

__device__ inline int token(const FeedParams& p, int word) { return word < 0 ? max(p.drawn[-1 - word], 0) : word; }

// One block: the turn changes once all of it has been read.
__global__ void __launch_bounds__(kMostThreads) feed_kernel(FeedParams p) {
  __shared__ int tail_words;
  ptx::wait_for_predecessors();
  ptx::let_successors_begin();
  const int turn = *p.turn, threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
  const std::int32_t* from = turn == 0 ? p.host[0] : p.host[1];
  const int4* vectors = reinterpret_cast<const int4*>(from);
  const int n = p.words / 4;
  for (int begin = thread; begin < n; begin += kUnroll * threads) {
    int4 v[kUnroll];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u)
      if (begin + u * threads < n) v[u] = __ldcv(vectors + begin + u * threads);
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const int i = begin + u * threads;
      if (i >= n) break;
      if (i == 0) tail_words = v[u].y;
      int* words = reinterpret_cast<int*>(&v[u]);
#pragma unroll
      for (int j = 0; j < 4; ++j)
        if (4 * i + j >= p.ids_begin && 4 * i + j < p.ids_end) words[j] = token(p, words[j]);
      reinterpret_cast<int4*>(p.out)[i] = v[u];
    }
  }
  __syncthreads();
  for (int i = thread; i < tail_words; i += threads) p.out[p.words + i] = token(p, __ldcv(from + p.words + i));
  if (thread == 0) *p.turn = 1 - turn;
}

__global__ void __launch_bounds__(256) deliver_kernel(DeliverParams p) {
  ptx::wait_for_predecessors();
  ptx::let_successors_begin();
  std::int32_t* out = p.block[0] == 0 ? p.out[0] : p.out[1];
  for (int i = static_cast<int>(threadIdx.x); i < p.rows; i += 256) __stwt(out + i, p.drawn[i]);
}

}  // namespace

cudaError_t feed_words(const FeedParams& params, cudaStream_t stream) {
  const int vectors = params.words / 4;
  const int threads = vectors >= kMostThreads ? kMostThreads : (vectors + 31) / 32 * 32;
  return launch(feed_kernel, dim3(1), dim3(static_cast<unsigned>(threads)), 0, stream, params);
}

cudaError_t deliver_words(const DeliverParams& params, cudaStream_t stream) {
  return launch(deliver_kernel, dim3(1), dim3(256), 0, stream, params);
}

}  // namespace rl::cuda
