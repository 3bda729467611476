// attention for sequences with many queries: FlashAttention-2 (Dao, arXiv 2307.08691) with mma.sync m16n8k16.
//
// A block has kM queries of one head of one sequence; its 4 warps have kM / 4 rows each, so that a warp's softmax needs
// no other warp. Keys and values come in tiles of kN tokens by cp.async, from their pages, the next tile while this one
// is used. Scores and weights stay in registers: an mma's accumulator has the layout of the next one's A operand. Rows
// of shared memory are head_dim elements, chunks of 16 bytes swizzled by the row (common/smem.cuh). Tokens past
// kv_len are zeros in shared memory, whatever their page holds. Flops: 4 head_dim per query and key seen. Bytes: q and
// out once; k and v once per block, mostly from L2.

#include "cuda/kernels/attention/paged.cuh"
#include "cuda/kernels/common/element.cuh"
#include "cuda/kernels/common/smem.cuh"
#include "cuda/ptx/ptx.h"

namespace rl::cuda {
namespace {

// Head dimensions in between are padded to the next one with zeros.
template <int kHeadDim>
struct FlashConfig {
  static constexpr int kWarps = 4, kThreads = 32 * kWarps;
  static constexpr int kM = kHeadDim <= 128 ? 128 : 64;
  static constexpr int kN = kHeadDim <= 64 ? 64 : 32;
  static constexpr int kStages = 2;
  static constexpr int kRowBytes = 2 * kHeadDim;
  static constexpr int kTileBytes = kN * kRowBytes;
  static constexpr int kSmemBytes = kM * kRowBytes + kStages * 2 * kTileBytes;
  static_assert(kSmemBytes <= 99 * 1024);
  static constexpr int kRowTiles = kM / 16 / kWarps;  // m16 tiles of a warp
};

constexpr float kSlack = 8;  // in powers of two: bf16 and fp16 weights have the precision they have below 1

template <class T, int kHeadDim>
__global__ void __launch_bounds__(FlashConfig<kHeadDim>::kThreads) flash_kernel(AttentionParams p) {
  using C = FlashConfig<kHeadDim>;
  constexpr int kRowChunks = C::kRowBytes / 16;
  extern __shared__ __align__(128) unsigned char smem[];
  unsigned char* const q_tile = smem;
  unsigned char* const kv_tiles = smem + C::kM * C::kRowBytes;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int head = blockIdx.x, kv_head = head / (p.heads / p.kv_heads);

  ptx::wait_for_predecessors();
  ptx::let_successors_begin();
  const Sequence seq = sequence_of(p, blockIdx.z);
  // The last queries see most keys under a causal mask: their blocks come first, those of all heads.
  const int first = (static_cast<int>(gridDim.y) - 1 - static_cast<int>(blockIdx.y)) * C::kM;
  if (first >= seq.queries || (p.one_query_apart && seq.queries == 1)) return;
  const int rows = min(C::kM, seq.queries - first);
  const int kv_begin = first_key(p, seq.position(first)) / C::kN * C::kN;
  const int kv_end = end_key(p, seq.position(first + rows - 1), seq.kv_len);

  const std::int32_t* const pages = p.page_table + blockIdx.z * p.page_table_stride;
  const int page_shift = log2_of(p.page_tokens);
  {
    const T* q = static_cast<const T*>(p.q) + (seq.first_q + first) * p.q_stride + head * p.head_dim;
#pragma unroll
    for (int i = 0; i < C::kM * kRowChunks / C::kThreads; ++i) {
      const int at = i * C::kThreads + static_cast<int>(threadIdx.x), row = at / kRowChunks, chunk = at % kRowChunks;
      const bool valid = row < rows && chunk * 8 < p.head_dim;
      ptx::cp_async_16(q_tile + chunk_at<C::kRowBytes>(row, chunk), valid ? q + row * p.q_stride + chunk * 8 : q,
                       valid);
    }
  }
  constexpr int kStep = C::kThreads / kRowChunks;  // rows between a thread's chunks, which are all in one column
  const int my_row = static_cast<int>(threadIdx.x) / kRowChunks, my_chunk = static_cast<int>(threadIdx.x) % kRowChunks;
  const bool in_row = my_chunk * 8 < p.head_dim;
  // A tile within one page is one piece of memory.
  const bool within_page = p.page_tokens >= C::kN;
  const auto load = [&](unsigned char* k_tile, int kv) {
    const std::int64_t tile = row_of(p, pages, page_shift, kv_head, min(kv, seq.kv_len - 1));
#pragma unroll 2  // all at once would need more registers than there are
    for (int row = my_row; row < C::kN; row += kStep) {
      const bool valid = in_row && kv + row < seq.kv_len;
      const std::int64_t from = !valid        ? 0
                                : within_page ? tile + row * p.head_dim + my_chunk * 8
                                              : row_of(p, pages, page_shift, kv_head, kv + row) + my_chunk * 8;
      unsigned char* to = k_tile + chunk_at<C::kRowBytes>(row, my_chunk);
      ptx::cp_async_16(to, static_cast<const T*>(p.k_pages) + from, valid);
      ptx::cp_async_16(to + C::kTileBytes, static_cast<const T*>(p.v_pages) + from, valid);
    }
    ptx::cp_async_commit();
  };
  load(kv_tiles, kv_begin);

  float out[C::kRowTiles][kHeadDim / 8][4] = {};
  float largest[C::kRowTiles][2], sum[C::kRowTiles][2] = {};
#pragma unroll
  for (int m = 0; m < C::kRowTiles; ++m) largest[m][0] = largest[m][1] = -INFINITY;
  const float scale = p.scale * kLog2e;
  const int warp_row = warp * 16 * C::kRowTiles;

  unsigned char *k_tile = kv_tiles, *other = kv_tiles + 2 * C::kTileBytes;
  for (int kv = kv_begin; kv < kv_end; kv += C::kN) {
    ptx::cp_async_wait<0>();
    __syncthreads();  // this tile is there, and every warp is done with the other one
    if (kv + C::kN < kv_end) load(other, kv + C::kN);
    const unsigned char* const v_tile = k_tile + C::kTileBytes;

    float score[C::kRowTiles][C::kN / 8][4] = {};
#pragma unroll 2  // 12.0 would spill
    for (int k = 0; k < kHeadDim / 16; ++k) {
      std::uint32_t a[C::kRowTiles][4];
#pragma unroll
      for (int m = 0; m < C::kRowTiles; ++m)
        ptx::ldmatrix_x4(a[m], q_tile + chunk_at<C::kRowBytes>(warp_row + m * 16 + lane % 16, 2 * k + lane / 16));
#pragma unroll
      for (int n = 0; n < C::kN / 16; ++n) {
        std::uint32_t b[4];
        ptx::ldmatrix_x4(b,
                         k_tile + chunk_at<C::kRowBytes>(n * 16 + lane % 8 + (lane / 16) * 8, 2 * k + (lane / 8) % 2));
#pragma unroll
        for (int m = 0; m < C::kRowTiles; ++m) {
          ptx::mma_m16n8k16<T>(score[m][2 * n], a[m], b[0], b[1]);
          ptx::mma_m16n8k16<T>(score[m][2 * n + 1], a[m], b[2], b[3]);
        }
      }
    }

#pragma unroll
    for (int m = 0; m < C::kRowTiles; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int position = seq.position(first + warp_row + m * 16 + lane / 4 + 8 * half);
        const int from = first_key(p, position), end = min(end_key(p, position, seq.kv_len), seq.kv_len);
        if (kv < from || kv + C::kN > end) {
#pragma unroll
          for (int n = 0; n < C::kN / 8; ++n)
#pragma unroll
            for (int j = 0; j < 2; ++j) {
              const int token = kv + n * 8 + 2 * (lane % 4) + j;
              if (token < from || token >= end) score[m][n][2 * half + j] = -INFINITY;
            }
        }
        float most = largest[m][half];
#pragma unroll
        for (int n = 0; n < C::kN / 8; ++n) most = fmaxf(most, fmaxf(score[m][n][2 * half], score[m][n][2 * half + 1]));
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2));
        // The reference moves only when a score is above it by more than kSlack: weights stay below 2^kSlack, and the
        // sums so far are seldom rescaled (FlashAttention-4's rule).
        const bool moved = (most - largest[m][half]) * scale > kSlack;
        if (__any_sync(0xffffffffu, moved)) {
          const float shrink = moved ? ptx::exp2_approx((largest[m][half] - most) * scale) : 1.0f;
          if (moved) largest[m][half] = most;
          sum[m][half] *= shrink;
#pragma unroll
          for (int d = 0; d < kHeadDim / 8; ++d) {
            out[m][d][2 * half] *= shrink;
            out[m][d][2 * half + 1] *= shrink;
          }
        }
        // A row that has seen no key yet keeps its sums at zero.
        const float base = largest[m][half] == -INFINITY ? 0.0f : largest[m][half] * scale;
#pragma unroll
        for (int n = 0; n < C::kN / 8; ++n)
#pragma unroll
          for (int j = 0; j < 2; ++j) {
            float& x = score[m][n][2 * half + j];
            x = ptx::exp2_approx(fmaf(x, scale, -base));
            sum[m][half] += x;
          }
      }
    }

#pragma unroll
    for (int k = 0; k < C::kN / 16; ++k) {
      std::uint32_t a[C::kRowTiles][4];
#pragma unroll
      for (int m = 0; m < C::kRowTiles; ++m)
#pragma unroll
        for (int i = 0; i < 4; ++i)
          a[m][i] = pack_pair<T>(score[m][2 * k + i / 2][2 * (i % 2)], score[m][2 * k + i / 2][2 * (i % 2) + 1]);
#pragma unroll
      for (int d = 0; d < kHeadDim / 16; ++d) {
        std::uint32_t b[4];
        ptx::ldmatrix_x4_trans(b, v_tile + chunk_at<C::kRowBytes>(k * 16 + lane % 16, 2 * d + lane / 16));
#pragma unroll
        for (int m = 0; m < C::kRowTiles; ++m) {
          ptx::mma_m16n8k16<T>(out[m][2 * d], a[m], b[0], b[1]);
          ptx::mma_m16n8k16<T>(out[m][2 * d + 1], a[m], b[2], b[3]);
        }
      }
    }
    unsigned char* const done = k_tile;
    k_tile = other;
    other = done;
  }

#pragma unroll
  for (int m = 0; m < C::kRowTiles; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float total = sum[m][half];
      total += __shfl_xor_sync(0xffffffffu, total, 1);
      total += __shfl_xor_sync(0xffffffffu, total, 2);
      const float inverse = 1.0f / total;
      const int row = warp_row + m * 16 + lane / 4 + 8 * half;
      if (row >= rows) continue;
      T* to =
          static_cast<T*>(p.out) + (static_cast<std::int64_t>(seq.first_q + first + row) * p.heads + head) * p.head_dim;
#pragma unroll
      for (int d = 0; d < kHeadDim / 8; ++d) {
        const int at = d * 8 + 2 * (lane % 4);
        if (at < p.head_dim)
          *reinterpret_cast<std::uint32_t*>(to + at) =
              pack_pair<T>(out[m][d][2 * half] * inverse, out[m][d][2 * half + 1] * inverse);
      }
    }
}

template <class T, int kHeadDim>
cudaError_t run(const AttentionParams& p, cudaStream_t stream) {
  using C = FlashConfig<kHeadDim>;
  const dim3 grid(static_cast<unsigned>(p.heads), static_cast<unsigned>((p.max_q + C::kM - 1) / C::kM),
                  static_cast<unsigned>(p.seqs));
  return launch(flash_kernel<T, kHeadDim>, grid, C::kThreads, C::kSmemBytes, stream, p);
}

template <class T>
cudaError_t run_of(const AttentionParams& p, cudaStream_t stream) {
  if (p.head_dim <= 64) return run<T, 64>(p, stream);
  if (p.head_dim <= 128) return run<T, 128>(p, stream);
  return run<T, 256>(p, stream);
}

}  // namespace

cudaError_t attention_flash(const AttentionParams& p, cudaStream_t stream) {
  return p.type == DType::bf16 ? run_of<__nv_bfloat16>(p, stream) : run_of<__half>(p, stream);
}

}  // namespace rl::cuda
