// Standard attention in three steps, each a kernel over the whole step: scores to memory, softmax over their rows,
// weights times values. What attention is without fusion, for experiments to compare with; not slowed down on purpose:
// products use mma.sync and cp.async, and tiles that a causal mask or a window hides are left out. Bytes: per score 4
// written, 4 read twice, 2 written and 2 read; q, k, v and out beside them.

#include "cuda/kernels/attention/paged.cuh"
#include "cuda/kernels/common/element.cuh"
#include "cuda/kernels/common/smem.cuh"
#include "cuda/ptx/ptx.h"

namespace rl::cuda {
namespace {

constexpr int kThreads = 128, kTile = 64;  // 4 warps; queries and keys of a tile

// Rows of scores and weights: [heads][tokens][keys], keys rounded up to whole tiles.
struct Scores {
  float* scores;
  void* weights;
  int tokens, keys;
};

__device__ inline std::int64_t score_row(const Scores& s, int head, int token) {
  return (static_cast<std::int64_t>(head) * s.tokens + token) * s.keys;
}

// Tiles of keys [first, end) that some query of a tile sees.
struct Tiles {
  int first, end;
};
__device__ inline Tiles tiles_of(const AttentionParams& p, const Sequence& seq, int first_query, int rows) {
  const int end = min(end_key(p, seq.position(first_query + rows - 1), seq.kv_len), seq.kv_len);
  return {first_key(p, seq.position(first_query)) / kTile, (end + kTile - 1) / kTile};
}

// kTile rows of `kRowChunks` chunks: row i from element `at(i)` on, or zeros where at(i) is negative.
template <class T, int kRowChunks, class At>
__device__ inline void load_rows(unsigned char* tile, const T* base, int row_elements, const At& at) {
#pragma unroll 4
  for (int i = threadIdx.x; i < kTile * kRowChunks; i += kThreads) {
    const int row = i / kRowChunks, chunk = i % kRowChunks;
    const std::int64_t from = at(row);
    const bool valid = from >= 0 && chunk * 8 < row_elements;
    ptx::cp_async_16(tile + chunk_at<16 * kRowChunks>(row, chunk), base + (valid ? from + chunk * 8 : 0), valid);
  }
}

// A block per tile of queries, tile of keys, and head of a sequence.
template <class T, int kHeadDim>
__global__ void __launch_bounds__(kThreads) scores_kernel(AttentionParams p, Scores s, int query_tiles) {
  constexpr int kRowBytes = 2 * kHeadDim;
  extern __shared__ __align__(128) unsigned char smem[];
  unsigned char *const q_tile = smem, *const k_tile = smem + kTile * kRowBytes;
  ptx::wait_for_predecessors();
  ptx::let_successors_begin();
  const int query_tile = static_cast<int>(blockIdx.x) % query_tiles,
            key_tile = static_cast<int>(blockIdx.x) / query_tiles;
  const int head = blockIdx.y, kv_head = head / (p.heads / p.kv_heads), first = query_tile * kTile;
  const Sequence seq = sequence_of(p, blockIdx.z);
  if (first >= seq.queries) return;
  const int rows = min(kTile, seq.queries - first);
  const Tiles tiles = tiles_of(p, seq, first, rows);
  if (key_tile < tiles.first || key_tile >= tiles.end) return;

  const std::int32_t* const pages = p.page_table + blockIdx.z * p.page_table_stride;
  const int page_shift = log2_of(p.page_tokens), kv = key_tile * kTile;
  load_rows<T, kRowBytes / 16>(q_tile, static_cast<const T*>(p.q), p.head_dim, [&](int row) -> std::int64_t {
    return row < rows ? (seq.first_q + first + row) * p.q_stride + head * p.head_dim : -1;
  });
  load_rows<T, kRowBytes / 16>(k_tile, static_cast<const T*>(p.k_pages), p.head_dim, [&](int row) -> std::int64_t {
    return kv + row < seq.kv_len ? row_of(p, pages, page_shift, kv_head, kv + row) : -1;
  });
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
  __syncthreads();

  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  float score[kTile / 8][4] = {};
#pragma unroll
  for (int k = 0; k < kHeadDim / 16; ++k) {
    std::uint32_t a[4];
    ptx::ldmatrix_x4(a, q_tile + chunk_at<kRowBytes>(warp * 16 + lane % 16, 2 * k + lane / 16));
#pragma unroll
    for (int n = 0; n < kTile / 16; ++n) {
      std::uint32_t b[4];
      ptx::ldmatrix_x4(b, k_tile + chunk_at<kRowBytes>(n * 16 + lane % 8 + (lane / 16) * 8, 2 * k + (lane / 8) % 2));
      ptx::mma_m16n8k16<T>(score[2 * n], a, b[0], b[1]);
      ptx::mma_m16n8k16<T>(score[2 * n + 1], a, b[2], b[3]);
    }
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = warp * 16 + lane / 4 + 8 * half;
    if (row >= rows) continue;
    float* const to = s.scores + score_row(s, head, seq.first_q + first + row) + kv + 2 * (lane % 4);
#pragma unroll
    for (int n = 0; n < kTile / 8; ++n)
      *reinterpret_cast<float2*>(to + n * 8) = {score[n][2 * half], score[n][2 * half + 1]};
  }
}

constexpr int kSoftmaxThreads = 256;

constexpr int kCached = 8;  // pieces of four scores that a thread holds

// kWarps warps per query and head: rows of up to 1024 kWarps scores are read once. The tiles that the query's tile sees
// get weights, 0 where this query sees nothing. kWarps 0: rows of any length, a block each, read three times.
template <class T, int kWarps>
__global__ void __launch_bounds__(kSoftmaxThreads) softmax_kernel(AttentionParams p, Scores s) {
  constexpr int kRowThreads = kWarps == 0 ? kSoftmaxThreads : 32 * kWarps, kRows = kSoftmaxThreads / kRowThreads;
  __shared__ float shared[2][kSoftmaxThreads / 32];
  ptx::wait_for_predecessors();
  ptx::let_successors_begin();
  const int query = static_cast<int>(blockIdx.x) * kRows + static_cast<int>(threadIdx.x) / kRowThreads;
  const int thread = static_cast<int>(threadIdx.x) % kRowThreads, warp = static_cast<int>(threadIdx.x) / 32;
  const Sequence seq = sequence_of(p, blockIdx.z);
  const bool mine = query < seq.queries;  // the others stay for the barriers
  const int tile = query / kTile * kTile, rows = min(kTile, seq.queries - tile);
  const Tiles tiles = mine ? tiles_of(p, seq, tile, rows) : Tiles{0, 0};
  const int position = seq.position(query), first = first_key(p, position);
  const int end = min(end_key(p, position, seq.kv_len), seq.kv_len);
  const std::int64_t row = score_row(s, blockIdx.y, seq.first_q + query);
  const float* const score = s.scores + row;
  T* const weight = static_cast<T*>(s.weights) + row;
  const float scale = p.scale * kLog2e;
  const int begin = tiles.first * kTile + 4 * thread, last = tiles.end * kTile;
  constexpr int kStep = 4 * kRowThreads;

  const auto load = [&](int i) {
    float4 x = *reinterpret_cast<const float4*>(score + i);
    x.x = i >= first && i < end ? x.x : -INFINITY;
    x.y = i + 1 >= first && i + 1 < end ? x.y : -INFINITY;
    x.z = i + 2 >= first && i + 2 < end ? x.z : -INFINITY;
    x.w = i + 3 >= first && i + 3 < end ? x.w : -INFINITY;
    return x;
  };
  // Over the row's threads.
  const auto reduced = [&](float x, int which, bool largest) {
    x = largest ? warp_max(x) : warp_sum(x);
    if constexpr (kRowThreads > 32) {
      if (threadIdx.x % 32 == 0) shared[which][warp] = x;
      __syncthreads();
      const int from = warp / (kRowThreads / 32) * (kRowThreads / 32);
      x = shared[which][from];
#pragma unroll
      for (int w = 1; w < kRowThreads / 32; ++w)
        x = largest ? fmaxf(x, shared[which][from + w]) : x + shared[which][from + w];
    }
    return x;
  };
  const auto most_of = [](const float4& x) { return fmaxf(fmaxf(x.x, x.y), fmaxf(x.z, x.w)); };
  float base = 0;
  const auto raise = [&](float4 x) {
    return float4{ptx::exp2_approx(fmaf(x.x, scale, -base)), ptx::exp2_approx(fmaf(x.y, scale, -base)),
                  ptx::exp2_approx(fmaf(x.z, scale, -base)), ptx::exp2_approx(fmaf(x.w, scale, -base))};
  };
  const auto store = [&](int i, const float4& x, float inverse) {
    *reinterpret_cast<uint2*>(weight + i) = {pack_pair<T>(x.x * inverse, x.y * inverse),
                                             pack_pair<T>(x.z * inverse, x.w * inverse)};
  };
  float most = -INFINITY, sum = 0;
  if constexpr (kWarps > 0) {
    float4 held[kCached];
#pragma unroll
    for (int j = 0; j < kCached; ++j) {
      const int i = begin + j * kStep;
      held[j] = i < last ? load(i) : float4{-INFINITY, -INFINITY, -INFINITY, -INFINITY};
      most = fmaxf(most, most_of(held[j]));
    }
    base = reduced(most, 0, true) * scale;
#pragma unroll
    for (int j = 0; j < kCached; ++j) {
      held[j] = raise(held[j]);
      sum += (held[j].x + held[j].y) + (held[j].z + held[j].w);
    }
    const float inverse = 1.0f / reduced(sum, 1, false);
#pragma unroll
    for (int j = 0; j < kCached; ++j)
      if (begin + j * kStep < last) store(begin + j * kStep, held[j], inverse);
  } else {
    for (int i = begin; i < last; i += kStep) most = fmaxf(most, most_of(load(i)));
    base = reduced(most, 0, true) * scale;
    for (int i = begin; i < last; i += kStep) {
      const float4 x = raise(load(i));
      sum += (x.x + x.y) + (x.z + x.w);
    }
    const float inverse = 1.0f / reduced(sum, 1, false);
    for (int i = begin; i < last; i += kStep) store(i, raise(load(i)), inverse);
  }
}

template <class T, int kWarps>
cudaError_t softmax(const AttentionParams& p, const Scores& s, cudaStream_t stream) {
  constexpr int kRows = kWarps == 0 ? 1 : kSoftmaxThreads / (32 * std::max(kWarps, 1));
  const dim3 grid(static_cast<unsigned>((p.max_q + kRows - 1) / kRows), static_cast<unsigned>(p.heads),
                  static_cast<unsigned>(p.seqs));
  return launch(softmax_kernel<T, kWarps>, grid, kSoftmaxThreads, 0, stream, p, s);
}

template <class T>
cudaError_t softmax_of(const AttentionParams& p, const Scores& s, cudaStream_t stream) {
  constexpr int kWarpKeys = 128 * kCached;
  if (s.keys <= kWarpKeys) return softmax<T, 1>(p, s, stream);
  if (s.keys <= 2 * kWarpKeys) return softmax<T, 2>(p, s, stream);
  if (s.keys <= 4 * kWarpKeys) return softmax<T, 4>(p, s, stream);
  if (s.keys <= 8 * kWarpKeys) return softmax<T, 8>(p, s, stream);
  return softmax<T, 0>(p, s, stream);
}

// A block per tile of queries and head: the sum over its tiles of weights times values, loaded one ahead.
template <class T, int kHeadDim>
__global__ void __launch_bounds__(kThreads) values_kernel(AttentionParams p, Scores s) {
  constexpr int kRowBytes = 2 * kHeadDim, kWeightBytes = 2 * kTile, kStage = kTile * (kWeightBytes + kRowBytes);
  extern __shared__ __align__(128) unsigned char smem[];
  ptx::wait_for_predecessors();
  ptx::let_successors_begin();
  const int first = (static_cast<int>(gridDim.x) - 1 - static_cast<int>(blockIdx.x)) * kTile;
  const int head = blockIdx.y, kv_head = head / (p.heads / p.kv_heads);
  const Sequence seq = sequence_of(p, blockIdx.z);
  if (first >= seq.queries) return;
  const int rows = min(kTile, seq.queries - first);
  const Tiles tiles = tiles_of(p, seq, first, rows);
  const std::int32_t* const pages = p.page_table + blockIdx.z * p.page_table_stride;
  const int page_shift = log2_of(p.page_tokens);
  const auto load = [&](int tile) {
    unsigned char* const to = smem + tile % 2 * kStage;
    const int kv = tile * kTile;
    load_rows<T, kWeightBytes / 16>(to, static_cast<const T*>(s.weights), kTile, [&](int row) -> std::int64_t {
      return row < rows ? score_row(s, head, seq.first_q + first + row) + kv : -1;
    });
    load_rows<T, kRowBytes / 16>(to + kTile * kWeightBytes, static_cast<const T*>(p.v_pages), p.head_dim,
                                 [&](int row) -> std::int64_t {
                                   return kv + row < seq.kv_len ? row_of(p, pages, page_shift, kv_head, kv + row) : -1;
                                 });
    ptx::cp_async_commit();
  };
  load(tiles.first);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  float out[kHeadDim / 8][4] = {};
  for (int tile = tiles.first; tile < tiles.end; ++tile) {
    ptx::cp_async_wait<0>();
    __syncthreads();
    if (tile + 1 < tiles.end) load(tile + 1);
    const unsigned char *const w_tile = smem + tile % 2 * kStage, *const v_tile = w_tile + kTile * kWeightBytes;
#pragma unroll
    for (int k = 0; k < kTile / 16; ++k) {
      std::uint32_t a[4];
      ptx::ldmatrix_x4(a, w_tile + chunk_at<kWeightBytes>(warp * 16 + lane % 16, 2 * k + lane / 16));
#pragma unroll
      for (int d = 0; d < kHeadDim / 16; ++d) {
        std::uint32_t b[4];
        ptx::ldmatrix_x4_trans(b, v_tile + chunk_at<kRowBytes>(k * 16 + lane % 16, 2 * d + lane / 16));
        ptx::mma_m16n8k16<T>(out[2 * d], a, b[0], b[1]);
        ptx::mma_m16n8k16<T>(out[2 * d + 1], a, b[2], b[3]);
      }
    }
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = warp * 16 + lane / 4 + 8 * half;
    if (row >= rows) continue;
    T* const to =
        static_cast<T*>(p.out) + (static_cast<std::int64_t>(seq.first_q + first + row) * p.heads + head) * p.head_dim;
#pragma unroll
    for (int d = 0; d < kHeadDim / 8; ++d) {
      const int at = d * 8 + 2 * (lane % 4);
      if (at < p.head_dim)
        *reinterpret_cast<std::uint32_t*>(to + at) = pack_pair<T>(out[d][2 * half], out[d][2 * half + 1]);
    }
  }
}

int keys_of(const AttentionParams& p) { return (p.max_kv + kTile - 1) / kTile * kTile; }

template <class T, int kHeadDim>
cudaError_t run(const AttentionParams& p, const Scores& s, cudaStream_t stream) {
  const unsigned query_tiles = static_cast<unsigned>((p.max_q + kTile - 1) / kTile),
                 heads = static_cast<unsigned>(p.heads), seqs = static_cast<unsigned>(p.seqs);
  const unsigned key_tiles = static_cast<unsigned>(s.keys / kTile);
  if (const cudaError_t code = launch(scores_kernel<T, kHeadDim>, dim3(query_tiles * key_tiles, heads, seqs), kThreads,
                                      2 * kTile * 2 * kHeadDim, stream, p, s, static_cast<int>(query_tiles));
      code != cudaSuccess)
    return code;
  if (const cudaError_t code = softmax_of<T>(p, s, stream); code != cudaSuccess) return code;
  return launch(values_kernel<T, kHeadDim>, dim3(query_tiles, heads, seqs), kThreads,
                2 * kTile * (2 * kTile + 2 * kHeadDim), stream, p, s);
}

template <class T>
cudaError_t run_of(const AttentionParams& p, const Scores& s, cudaStream_t stream) {
  if (p.head_dim <= 64) return run<T, 64>(p, s, stream);
  if (p.head_dim <= 128) return run<T, 128>(p, s, stream);
  return run<T, 256>(p, s, stream);
}

}  // namespace

std::int64_t attention_standard_workspace(const AttentionParams& p) {
  return static_cast<std::int64_t>(p.heads) * p.tokens * keys_of(p) * 6;
}

cudaError_t attention_standard(const AttentionParams& p, void* workspace, cudaStream_t stream) {
  Scores s{static_cast<float*>(workspace), nullptr, p.tokens, keys_of(p)};
  s.weights = s.scores + static_cast<std::int64_t>(p.heads) * s.tokens * s.keys;
  return p.type == DType::bf16 ? run_of<__nv_bfloat16>(p, s, stream) : run_of<__half>(p, s, stream);
}

}  // namespace rl::cuda
