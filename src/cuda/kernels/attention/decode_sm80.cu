// attention for one query per sequence: a stream over keys and values, split over blocks.
//
// The query heads that share a kv head are rows of one mma (GQA packing): keys and values are read once for all of
// them. A block has one kv head of one sequence and `split` consecutive tokens; each of its warps streams tiles of 16
// of these through shared memory of its own with cp.async, kStages deep, with no barrier but its own. The warps'
// partial results are merged in the block, the blocks' by a second kernel. `split` depends on max_kv alone, so a
// sequence's bits do not depend on its neighbours. Bytes: keys and values once. Flops: 16 / group times more than
// needed, and far below what the tensor cores do meanwhile.

#include "cuda/kernels/attention/paged.cuh"
#include "cuda/kernels/common/element.cuh"
#include "cuda/kernels/common/smem.cuh"
#include "cuda/ptx/ptx.h"

namespace rl::cuda {
namespace {

constexpr int kRows = 16, kTokens = 16;  // of a tile: query heads, keys
constexpr int kLeastSplit = 256, kMostSplits = 64;

int split_of(const AttentionParams& p) {
  const int even = (p.max_kv + kMostSplits - 1) / kMostSplits;
  return max(kLeastSplit, (even + kLeastSplit - 1) / kLeastSplit * kLeastSplit);
}
int splits_of(const AttentionParams& p) {
  const int split = split_of(p);
  return (p.max_kv + split - 1) / split;
}

template <int kHeadDim>
struct DecodeConfig {
  static constexpr int kWarps = kHeadDim <= 128 ? 4 : 2;
  static constexpr int kStages = kHeadDim <= 64 ? 4 : 3;
  static constexpr int kThreads = 32 * kWarps;
  static constexpr int kRowBytes = 2 * kHeadDim;
  static constexpr int kTileBytes = kTokens * kRowBytes;
  static constexpr int kWarpBytes = 2 * kTileBytes * kStages;
  static constexpr int kSmemBytes = kWarps * kWarpBytes;
  static_assert(kSmemBytes <= 99 * 1024);
  static_assert(kWarpBytes >= kRows * (kHeadDim + 2) * 4, "partial results take the place of the tiles");
};

// A partial result: the sum of exp2(score - largest) v, not divided, then `largest` (scaled by log2 e) and the sum of
// the weights. [seqs][heads][splits][head_dim + 2].
__device__ inline float* partial_of(float* partials, const AttentionParams& p, int splits, int seq, int head,
                                    int split) {
  return partials + ((static_cast<std::int64_t>(seq) * p.heads + head) * splits + split) * (p.head_dim + 2);
}

template <class T, int kHeadDim>
__global__ void __launch_bounds__(DecodeConfig<kHeadDim>::kThreads)
    decode_kernel(AttentionParams p, float* partials, int split_tokens, int splits) {
  using C = DecodeConfig<kHeadDim>;
  constexpr int kRowChunks = C::kRowBytes / 16;
  extern __shared__ __align__(128) unsigned char smem[];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int kv_head = blockIdx.x, split = blockIdx.y, group = p.heads / p.kv_heads;

  ptx::let_successors_begin();
  // What a step's inputs say is older than any kernel of the step.
  const Sequence seq = sequence_of(p, blockIdx.z);
  if (seq.queries == 0) return;
  const int kv_first = first_key(p, seq.kv_len - 1);
  const int begin = max(split * split_tokens, kv_first), end = min((split + 1) * split_tokens, seq.kv_len);
  if (begin >= end) return;
  const std::int32_t* const pages = p.page_table + blockIdx.z * p.page_table_stride;
  const int page_shift = log2_of(p.page_tokens);

  // This warp's tiles are first + warp * kTokens, and every kWarps-th after it.
  const int first = begin / kTokens * kTokens;
  const int tiles = (end - first + kTokens - 1) / kTokens;
  const int mine = (tiles - warp + C::kWarps - 1) / C::kWarps;
  unsigned char* const ring = smem + warp * C::kWarpBytes;
  const auto load = [&](int i) {
    unsigned char* const k_tile = ring + (i % C::kStages) * 2 * C::kTileBytes;
    const int kv = first + (i * C::kWarps + warp) * kTokens;
#pragma unroll
    for (int j = 0; j < kTokens * kRowChunks / 32; ++j) {
      const int at = j * 32 + lane, row = at / kRowChunks, chunk = at % kRowChunks;
      const bool valid = kv + row < end && chunk * 8 < p.head_dim;
      const std::int64_t from = valid ? row_of(p, pages, page_shift, kv_head, kv + row) + chunk * 8 : 0;
      unsigned char* const to = k_tile + chunk_at<C::kRowBytes>(row, chunk);
      ptx::cp_async_16(to, static_cast<const T*>(p.k_pages) + from, valid);
      ptx::cp_async_16(to + C::kTileBytes, static_cast<const T*>(p.v_pages) + from, valid);
    }
  };
  // Keys and values are older than this step, but the last token's: its tile is loaded after the wait.
  const auto is_old = [&](int i) { return first + (i * C::kWarps + warp + 1) * kTokens <= seq.kv_len - 1; };
#pragma unroll
  for (int i = 0; i < C::kStages - 1; ++i) {
    if (i < mine && is_old(i)) load(i);
    ptx::cp_async_commit();
  }
  ptx::wait_for_predecessors();
  bool last_is_extra = false;
  if (mine > 0 && mine <= C::kStages - 1 && !is_old(mine - 1)) {
    load(mine - 1);
    ptx::cp_async_commit();
    last_is_extra = true;
  }

  // Queries as A operands, straight from memory: lane / 4 is the row, rows past the group are zeros.
  std::uint32_t q[kHeadDim / 16][4];
  const T* const q_rows = static_cast<const T*>(p.q) + seq.first_q * p.q_stride + kv_head * group * p.head_dim;
#pragma unroll
  for (int k = 0; k < kHeadDim / 16; ++k)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + 8 * (i % 2), at = k * 16 + 2 * (lane % 4) + 8 * (i / 2);
      q[k][i] =
          row < group && at < p.head_dim ? *reinterpret_cast<const std::uint32_t*>(q_rows + row * p.head_dim + at) : 0u;
    }

  float out[kHeadDim / 8][4] = {};
  float largest[2] = {-INFINITY, -INFINITY}, sum[2] = {};
  const float scale = p.scale * kLog2e;
  for (int i = 0; i < mine; ++i) {
    if (last_is_extra && i == mine - 1)
      ptx::cp_async_wait<0>();
    else
      ptx::cp_async_wait<C::kStages - 2>();
    __syncwarp();
    if (i + C::kStages - 1 < mine) load(i + C::kStages - 1);
    ptx::cp_async_commit();
    const unsigned char* const k_tile = ring + (i % C::kStages) * 2 * C::kTileBytes;
    const unsigned char* const v_tile = k_tile + C::kTileBytes;
    const int kv = first + (i * C::kWarps + warp) * kTokens;

    float score[2][4] = {};
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; ++k) {
      std::uint32_t b[4];
      ptx::ldmatrix_x4(b, k_tile + chunk_at<C::kRowBytes>(lane % 8 + (lane / 16) * 8, 2 * k + (lane / 8) % 2));
      ptx::mma_m16n8k16<T>(score[0], q[k], b[0], b[1]);
      ptx::mma_m16n8k16<T>(score[1], q[k], b[2], b[3]);
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float most = largest[half];
#pragma unroll
      for (int n = 0; n < 2; ++n)
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          const int token = kv + n * 8 + 2 * (lane % 4) + j;
          if (token < begin || token >= end) score[n][2 * half + j] = -INFINITY;
          most = fmaxf(most, score[n][2 * half + j]);
        }
      most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
      most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2));
      const float base = most == -INFINITY ? 0.0f : most * scale;
      const float shrink = ptx::exp2_approx(largest[half] * scale - base);
      largest[half] = most;
      float row_sum = 0;
#pragma unroll
      for (int n = 0; n < 2; ++n)
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          float& x = score[n][2 * half + j];
          x = ptx::exp2_approx(fmaf(x, scale, -base));
          row_sum += x;
        }
      sum[half] = fmaf(sum[half], shrink, row_sum);
#pragma unroll
      for (int d = 0; d < kHeadDim / 8; ++d) {
        out[d][2 * half] *= shrink;
        out[d][2 * half + 1] *= shrink;
      }
    }
    const std::uint32_t a[4] = {pack_pair<T>(score[0][0], score[0][1]), pack_pair<T>(score[0][2], score[0][3]),
                                pack_pair<T>(score[1][0], score[1][1]), pack_pair<T>(score[1][2], score[1][3])};
#pragma unroll
    for (int d = 0; d < kHeadDim / 16; ++d) {
      std::uint32_t b[4];
      ptx::ldmatrix_x4_trans(b, v_tile + chunk_at<C::kRowBytes>(lane % 16, 2 * d + lane / 16));
      ptx::mma_m16n8k16<T>(out[2 * d], a, b[0], b[1]);
      ptx::mma_m16n8k16<T>(out[2 * d + 1], a, b[2], b[3]);
    }
    __syncwarp();
  }

  // The warps' results, where their tiles were: [kRows][head_dim + 2].
  ptx::cp_async_wait<0>();
  __syncthreads();
  constexpr int kRow = kHeadDim + 2;
  auto* const rows = reinterpret_cast<float*>(ring);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float total = sum[half];
    total += __shfl_xor_sync(0xffffffffu, total, 1);
    total += __shfl_xor_sync(0xffffffffu, total, 2);
    float* const row = rows + (lane / 4 + 8 * half) * kRow;
#pragma unroll
    for (int d = 0; d < kHeadDim / 8; ++d) {
      row[d * 8 + 2 * (lane % 4)] = out[d][2 * half];
      row[d * 8 + 2 * (lane % 4) + 1] = out[d][2 * half + 1];
    }
    if (lane % 4 == 0) {
      row[kHeadDim] = largest[half] * scale;
      row[kHeadDim + 1] = total;
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < group * p.head_dim; i += C::kThreads) {
    const int row = i / p.head_dim, d = i % p.head_dim;
    const auto of = [&](int w) { return reinterpret_cast<const float*>(smem + w * C::kWarpBytes) + row * kRow; };
    float most = -INFINITY;
#pragma unroll
    for (int w = 0; w < C::kWarps; ++w) most = fmaxf(most, of(w)[kHeadDim]);
    float value = 0, weights = 0;
#pragma unroll
    for (int w = 0; w < C::kWarps; ++w) {
      const float factor = ptx::exp2_approx(of(w)[kHeadDim] - most);
      value += of(w)[d] * factor;
      weights += of(w)[kHeadDim + 1] * factor;
    }
    float* const to = partial_of(partials, p, splits, blockIdx.z, kv_head * group + row, split);
    to[d] = value;
    if (d == 0) to[p.head_dim] = most, to[p.head_dim + 1] = weights;
  }
}

constexpr int kCombineThreads = 128;

template <class T>
__global__ void __launch_bounds__(kCombineThreads)
    combine_kernel(AttentionParams p, const float* partials, int split_tokens, int splits) {
  ptx::let_successors_begin();
  const int head = blockIdx.x;
  const Sequence seq = sequence_of(p, blockIdx.y);
  if (seq.queries == 0) return;
  ptx::wait_for_predecessors();
  const int first = first_key(p, seq.kv_len - 1) / split_tokens, end = (seq.kv_len + split_tokens - 1) / split_tokens;
  const float* const mine = partial_of(const_cast<float*>(partials), p, splits, blockIdx.y, head, 0);
  const int stride = p.head_dim + 2;
  float most = -INFINITY;
  for (int s = first; s < end; ++s) most = fmaxf(most, mine[s * stride + p.head_dim]);
  float weights = 0;
  for (int s = first; s < end; ++s)
    weights += mine[s * stride + p.head_dim + 1] * ptx::exp2_approx(mine[s * stride + p.head_dim] - most);
  T* const to = static_cast<T*>(p.out) + (static_cast<std::int64_t>(seq.first_q) * p.heads + head) * p.head_dim;
  for (int d = threadIdx.x; d < p.head_dim; d += kCombineThreads) {
    float value = 0;
    for (int s = first; s < end; ++s)
      value += mine[s * stride + d] * ptx::exp2_approx(mine[s * stride + p.head_dim] - most);
    to[d] = from_float<T>(value / weights);
  }
}

template <class T, int kHeadDim>
cudaError_t run(const AttentionParams& p, float* partials, cudaStream_t stream) {
  using C = DecodeConfig<kHeadDim>;
  const int split = split_of(p), splits = splits_of(p);
  const dim3 grid(static_cast<unsigned>(p.kv_heads), static_cast<unsigned>(splits), static_cast<unsigned>(p.seqs));
  if (const cudaError_t code =
          launch(decode_kernel<T, kHeadDim>, grid, C::kThreads, C::kSmemBytes, stream, p, partials, split, splits);
      code != cudaSuccess)
    return code;
  const dim3 heads(static_cast<unsigned>(p.heads), static_cast<unsigned>(p.seqs));
  return launch(combine_kernel<T>, heads, kCombineThreads, 0, stream, p, partials, split, splits);
}

template <class T>
cudaError_t run_of(const AttentionParams& p, float* partials, cudaStream_t stream) {
  if (p.head_dim <= 64) return run<T, 64>(p, partials, stream);
  if (p.head_dim <= 128) return run<T, 128>(p, partials, stream);
  return run<T, 256>(p, partials, stream);
}

}  // namespace

std::int64_t attention_decode_workspace(const AttentionParams& p) {
  return static_cast<std::int64_t>(p.seqs) * p.heads * splits_of(p) * (p.head_dim + 2) * 4;
}

cudaError_t attention_decode(const AttentionParams& p, void* workspace, cudaStream_t stream) {
  auto* const partials = static_cast<float*>(workspace);
  return p.type == DType::bf16 ? run_of<__nv_bfloat16>(p, partials, stream) : run_of<__half>(p, partials, stream);
}

}  // namespace rl::cuda
