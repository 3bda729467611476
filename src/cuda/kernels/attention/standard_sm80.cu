// Standard attention in three steps, each a kernel over the whole step: scores to memory, softmax over their rows,
// weights times values. What attention is without fusion, for experiments to compare with; not slowed down on purpose:
// products use mma.sync and cp.async, and tiles that a causal mask or a window hides are left out. Bytes: per score 4
// written, 4 read, 2 written and 2 read; q, k, v and out beside them.

#include "cuda/kernels/attention/tile.cuh"

namespace rl::cuda {
namespace {

constexpr int kThreads = 128, kKeys = 64;  // 4 warps; keys of a tile

template <int kHeadDim_>
struct StandardConfig {
  static constexpr int kHeadDim = kHeadDim_, kRowBytes = 2 * kHeadDim;
  static constexpr int kRowTiles = kHeadDim <= 128 ? 2 : 1,
                       kRows = 64 * kRowTiles;  // of a warp, 16 queries each; queries
  static constexpr int kKeyBytes = kKeys * kRowBytes, kQueryBytes = kRows * kRowBytes, kWeightBytes = kRows * 2 * kKeys;
  static constexpr int kScoreSmemBytes = kQueryBytes + 2 * kKeyBytes;
  static constexpr int kStages = kHeadDim <= 128 ? 3 : 2, kStageBytes = kWeightBytes + kKeyBytes;
  static constexpr int kValueSmemBytes = std::max(kStages * kStageBytes, kQueryBytes);
  static_assert(std::max(kScoreSmemBytes, kValueSmemBytes) <= 99 * 1024);
};

// Rows of scores and weights: [heads][tokens][keys], keys rounded up to whole tiles.
struct Scores {
  float* scores;
  void* weights;
  int tokens, keys;
  int query_rows;  // kRows of the kernels' configuration
  int chunk;       // tiles of keys that a block makes scores of
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
  return {first_key(p, seq.position(first_query)) / kKeys, (end + kKeys - 1) / kKeys};
}

// A block per tile of queries, `chunk` tiles of keys, and head of a sequence; the next tile of keys is loaded while
// this one is multiplied and stored.
template <class T, class C>
__global__ void __launch_bounds__(kThreads) scores_kernel(AttentionParams p, Scores s, int query_tiles) {
  constexpr int kRowBytes = C::kRowBytes, kRowTiles = C::kRowTiles;
  extern __shared__ __align__(1024) unsigned char smem_bytes[];
  const std::uint32_t smem = ptx::smem_address(smem_bytes), k_tiles = smem + C::kQueryBytes;
  ptx::wait_for_predecessors();
  ptx::let_successors_begin();
  const int first = static_cast<int>(blockIdx.x) % query_tiles * C::kRows;
  const int head = blockIdx.y, kv_head = head / (p.heads / p.kv_heads);
  const Sequence seq = sequence_of(p, blockIdx.z);
  if (first >= seq.queries) return;
  const int rows = min(C::kRows, seq.queries - first);
  const Tiles seen = tiles_of(p, seq, first, rows);
  const int chunk = static_cast<int>(blockIdx.x) / query_tiles * s.chunk;
  const int begin = max(seen.first, chunk), end = min(seen.end, chunk + s.chunk);
  if (begin >= end) return;

  const PagedHead paged = paged_head(p, blockIdx.z, kv_head, seq.kv_len);
  const auto load = [&](int tile) {
    load_tokens<T, C::kHeadDim, kKeys, kThreads, 1>(p, paged, tile * kKeys, paged.page_of(tile * kKeys), {p.k_pages},
                                                    {k_tiles + tile % 2 * C::kKeyBytes});
    ptx::cp_async_commit();
  };
  load_queries<T, C::kHeadDim, C::kRows, kThreads>(p, seq.first_q + first, head, rows, smem);
  load(begin);
  const int lane = threadIdx.x % 32, warp_row = static_cast<int>(threadIdx.x) / 32 * 16 * kRowTiles;
  const std::uint32_t q_from = smem + warp_row * kRowBytes + fragment_a<kRowBytes>(lane),
                      k_from = k_tiles + fragment_b<kRowBytes>(lane);
  float* const to = s.scores + score_row(s, head, seq.first_q + first + warp_row + lane / 4) + 2 * (lane % 4);
  for (int tile = begin; tile < end; ++tile) {
    ptx::cp_async_wait<0>();
    __syncthreads();
    if (tile + 1 < end) load(tile + 1);
    if (warp_row >= rows) continue;
    const std::uint32_t k_tile = k_from + tile % 2 * C::kKeyBytes;
    float score[kRowTiles][kKeys / 8][4] = {};
#pragma unroll
    for (int k = 0; k < C::kHeadDim / 16; ++k) {
      std::uint32_t a[kRowTiles][4];
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) ptx::ldmatrix_x4(a[m], (q_from ^ (32 * k)) + m * 16 * kRowBytes);
#pragma unroll
      for (int n = 0; n < kKeys / 16; ++n) {
        std::uint32_t b[4];
        ptx::ldmatrix_x4(b, (k_tile ^ (32 * k)) + n * 16 * kRowBytes);
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) {
          ptx::mma_m16n8k16<T>(score[m][2 * n], a[m], b[0], b[1]);
          ptx::mma_m16n8k16<T>(score[m][2 * n + 1], a[m], b[2], b[3]);
        }
      }
    }
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        if (warp_row + m * 16 + lane / 4 + 8 * half >= rows) continue;
        float* const row = to + static_cast<std::int64_t>(m * 16 + 8 * half) * s.keys + tile * kKeys;
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n)
          *reinterpret_cast<float2*>(row + n * 8) = {score[m][n][2 * half], score[m][n][2 * half + 1]};
      }
  }
}

constexpr int kSoftmaxThreads = 256;

constexpr int kCached = 8;  // pieces of four scores that a thread holds

// kWarps warps per query and head: rows of up to 1024 kWarps scores are read once. The tiles that the query's tile sees
// get weights, 0 where this query sees nothing. kWarps 0: rows of any length, a block each, read twice.
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
  const int tile = query / s.query_rows * s.query_rows, rows = min(s.query_rows, seq.queries - tile);
  const Tiles tiles = mine ? tiles_of(p, seq, tile, rows) : Tiles{0, 0};
  const int position = seq.position(query), first = first_key(p, position);
  const int end = min(end_key(p, position, seq.kv_len), seq.kv_len);
  const std::int64_t row = score_row(s, blockIdx.y, seq.first_q + query);
  const float* const score = s.scores + row;
  T* const weight = static_cast<T*>(s.weights) + row;
  const float scale = p.scale * kLog2e;
  const int begin = tiles.first * kKeys + 4 * thread, last = tiles.end * kKeys;
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
    // Each thread's sum counts from the largest score that it has met so far.
    for (int i = begin; i < last; i += kStep) {
      const float4 x = load(i);
      const float more = most_of(x);
      if (more > most) {
        sum *= ptx::exp2_approx((most - more) * scale);
        most = more, base = most * scale;
      }
      const float4 y = raise(x);
      sum += (y.x + y.y) + (y.z + y.w);
    }
    const float own = base;
    base = reduced(most, 0, true) * scale;
    sum = sum > 0 ? sum * ptx::exp2_approx(own - base) : 0.0f;  // a thread that has met none counts from nowhere
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

// A block per tile of queries and head: the sum over its tiles of weights times values, loaded kStages - 1 ahead.
template <class T, class C>
__global__ void __launch_bounds__(kThreads) values_kernel(AttentionParams p, Scores s) {
  constexpr int kRowBytes = C::kRowBytes, kRowTiles = C::kRowTiles, kAhead = C::kStages - 1;
  extern __shared__ __align__(1024) unsigned char smem_bytes[];
  const std::uint32_t smem = ptx::smem_address(smem_bytes);
  ptx::wait_for_predecessors();
  ptx::let_successors_begin();
  const int first = (static_cast<int>(gridDim.y) - 1 - static_cast<int>(blockIdx.y)) * C::kRows;
  const int head = blockIdx.x, kv_head = head / (p.heads / p.kv_heads);
  const Sequence seq = sequence_of(p, blockIdx.z);
  if (first >= seq.queries) return;
  const int rows = min(C::kRows, seq.queries - first);
  const Tiles tiles = tiles_of(p, seq, first, rows);
  const PagedHead paged = paged_head(p, blockIdx.z, kv_head, seq.kv_len);
  const T* const weights = static_cast<const T*>(s.weights) + score_row(s, head, seq.first_q + first);
  const auto load = [&](int stage, int tile) {
    const std::uint32_t to = smem + stage * C::kStageBytes;
    const int row = ptx::thread_again() / 8, chunk = ptx::thread_again() % 8;
    const T* const from = weights + static_cast<std::int64_t>(row) * s.keys + tile * kKeys + chunk * 8;
#pragma unroll
    for (int i = 0; i < C::kRows; i += kThreads / 8)
      ptx::cp_async_16(to + chunk_at<2 * kKeys>(row, chunk) + i * 2 * kKeys,
                       row + i < rows ? from + static_cast<std::int64_t>(i) * s.keys : weights, row + i < rows);
    load_tokens<T, C::kHeadDim, kKeys, kThreads, 1>(p, paged, tile * kKeys, paged.page_of(tile * kKeys), {p.v_pages},
                                                    {to + C::kWeightBytes});
  };
#pragma unroll
  for (int i = 0; i < kAhead; ++i) {
    if (tiles.first + i < tiles.end) load(i, tiles.first + i);
    ptx::cp_async_commit();
  }
  const int lane = threadIdx.x % 32, warp_row = static_cast<int>(threadIdx.x) / 32 * 16 * kRowTiles;
  const std::uint32_t w_from = smem + warp_row * 2 * kKeys + fragment_a<2 * kKeys>(lane),
                      v_from = smem + C::kWeightBytes + fragment_a<kRowBytes>(lane);
  float out[kRowTiles][C::kHeadDim / 8][4] = {};
  int stage = 0;
  for (int tile = tiles.first; tile < tiles.end; ++tile) {
    ptx::cp_async_wait<kAhead - 1>();
    __syncthreads();
    if (tile + kAhead < tiles.end) load(stage == 0 ? kAhead : stage - 1, tile + kAhead);
    ptx::cp_async_commit();
    const std::uint32_t w_tile = w_from + stage * C::kStageBytes, v_tile = v_from + stage * C::kStageBytes;
    stage = stage == kAhead ? 0 : stage + 1;
    if (warp_row >= rows) continue;
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k) {
      std::uint32_t a[kRowTiles][4];
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) ptx::ldmatrix_x4(a[m], (w_tile ^ (32 * k)) + m * 16 * 2 * kKeys);
#pragma unroll
      for (int d = 0; d < C::kHeadDim / 16; ++d) {
        std::uint32_t b[4];
        ptx::ldmatrix_x4_trans(b, (v_tile ^ (32 * d)) + k * 16 * kRowBytes);
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) {
          ptx::mma_m16n8k16<T>(out[m][2 * d], a[m], b[0], b[1]);
          ptx::mma_m16n8k16<T>(out[m][2 * d + 1], a[m], b[2], b[3]);
        }
      }
    }
  }
  __syncthreads();
  store_rows<T, C::kHeadDim, kRowTiles>(p, seq.first_q + first + warp_row, head, rows - warp_row,
                                        smem_bytes + warp_row * kRowBytes, lane,
                                        [&](int m, int d, int i) { return out[m][d][i]; });
}

int keys_of(const AttentionParams& p) { return (p.max_kv + kKeys - 1) / kKeys * kKeys; }

template <class T, class C>
cudaError_t run(const AttentionParams& p, Scores s, cudaStream_t stream) {
  const int query_tiles = (p.max_q + C::kRows - 1) / C::kRows, key_tiles = s.keys / kKeys;
  s.query_rows = C::kRows;
  // Few tiles are spread over more blocks.
  constexpr std::int64_t kChunk = 8, kEnough = 1024;
  s.chunk = static_cast<std::int64_t>(query_tiles) * p.heads * p.seqs * key_tiles >= kChunk * kEnough ? kChunk : 1;
  const auto tiles = static_cast<unsigned>(query_tiles),
             chunks = static_cast<unsigned>((key_tiles + s.chunk - 1) / s.chunk),
             heads = static_cast<unsigned>(p.heads), seqs = static_cast<unsigned>(p.seqs);
  if (const cudaError_t code = launch(scores_kernel<T, C>, dim3(tiles * chunks, heads, seqs), kThreads,
                                      C::kScoreSmemBytes, stream, p, s, query_tiles);
      code != cudaSuccess)
    return code;
  if (const cudaError_t code = softmax_of<T>(p, s, stream); code != cudaSuccess) return code;
  return launch(values_kernel<T, C>, dim3(heads, tiles, seqs), kThreads, C::kValueSmemBytes, stream, p, s);
}

template <class T>
cudaError_t run_of(const AttentionParams& p, const Scores& s, cudaStream_t stream) {
  if (p.head_dim <= 64) return run<T, StandardConfig<64>>(p, s, stream);
  if (p.head_dim <= 128) return run<T, StandardConfig<128>>(p, s, stream);
  return run<T, StandardConfig<256>>(p, s, stream);
}

}  // namespace

std::int64_t attention_standard_workspace(const AttentionParams& p) {
  return static_cast<std::int64_t>(p.heads) * p.tokens * keys_of(p) * 6;
}

cudaError_t attention_standard(const AttentionParams& p, void* workspace, cudaStream_t stream) {
  Scores s{static_cast<float*>(workspace), nullptr, p.tokens, keys_of(p), 0, 0};
  s.weights = s.scores + static_cast<std::int64_t>(p.heads) * s.tokens * s.keys;
  return p.type == DType::bf16 ? run_of<__nv_bfloat16>(p, s, stream) : run_of<__half>(p, s, stream);
}

}  // namespace rl::cuda
