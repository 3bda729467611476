// attention for sequences with many queries: FlashAttention-2 (Dao, arXiv 2307.08691) with mma.sync m16n8k16.
//
// A block has queries of one head of one sequence; each of its warps has 16 row_tiles of them, so that a warp's softmax
// needs no other warp. Keys and values come in tiles by cp.async, from their pages, the next tile while this one is
// used: one barrier a tile. Scores and weights stay in registers: an mma's accumulator has the layout of the next one's
// A operand. While the tensor cores multiply 16 weights of a row with their values, the next 16 are raised. Rows of
// shared memory are head_dim elements, chunks of 16 bytes swizzled by the row (common/smem.cuh). Tokens past kv_len are
// zeros in shared memory, whatever their page holds. Flops: 4 head_dim per query and key seen. Bytes: q and out once;
// k and v once per block, mostly from L2.

#include "cuda/kernels/attention/tile.cuh"
#include "cuda/kernels/common/element.cuh"

namespace rl::cuda {
namespace {

// kHeadDim: those in between are padded with zeros. kRowTiles: of a warp, 16 queries each; all of them use what it
// reads of keys and values from shared memory. kKeys: of a tile. kBlocks: that share a multiprocessor.
template <int kHeadDim_, int kWarps_, int kRowTiles_, int kKeys_, int kStages_, int kBlocks_, bool kQInRegisters_>
struct FlashConfig {
  static constexpr int kHeadDim = kHeadDim_, kRowTiles = kRowTiles_, kKeys = kKeys_, kStages = kStages_,
                       kBlocks = kBlocks_;
  static constexpr bool kQInRegisters = kQInRegisters_;
  static constexpr int kThreads = 32 * kWarps_, kWarpRows = 16 * kRowTiles, kRows = kWarps_ * kWarpRows;
  static constexpr int kRowBytes = 2 * kHeadDim;
  static constexpr int kTileBytes = kKeys * kRowBytes, kStageBytes = 2 * kTileBytes;
  // Behind the tiles; if only read once, where the second tile comes later.
  static constexpr int kQAt = (kQInRegisters ? 1 : kStages) * kStageBytes;
  static constexpr int kSmemBytes = std::max(kStages * kStageBytes, kQAt + kRows * kRowBytes);
  static_assert(kSmemBytes <= 99 * 1024);
};

constexpr float kSlack = 8;  // in powers of two: bf16 and fp16 weights have the precision they have below 1
constexpr float kLowest = -3e38f;

template <class T, class C>
__global__ void __launch_bounds__(C::kThreads, C::kBlocks) flash_kernel(AttentionParams p) {
  constexpr int kHeadDim = C::kHeadDim, kKeys = C::kKeys, kRowTiles = C::kRowTiles, kRowBytes = C::kRowBytes;
  extern __shared__ __align__(1024) unsigned char smem_bytes[];
  const std::uint32_t smem = ptx::smem_address(smem_bytes);
  const int warp = ptx::uniform(threadIdx.x / 32), lane = threadIdx.x % 32;
  const int head = blockIdx.x, kv_head = head / (p.heads / p.kv_heads);

  ptx::wait_for_predecessors();
  ptx::let_successors_begin();
  const Sequence mine = sequence_of(p, blockIdx.z);
  const Sequence seq{ptx::uniform(mine.first_q), ptx::uniform(mine.queries), ptx::uniform(mine.kv_len)};
  // The last queries see most keys under a causal mask: their blocks come first, those of all heads.
  const int first = (static_cast<int>(gridDim.y) - 1 - static_cast<int>(blockIdx.y)) * C::kRows;
  if (first >= seq.queries || (p.one_query_apart && seq.queries == 1)) return;
  const int rows = min(C::kRows, seq.queries - first);
  const int kv_begin = first_key(p, seq.position(first)) / kKeys * kKeys;
  const int kv_end = min(end_key(p, seq.position(first + rows - 1), seq.kv_len), seq.kv_len);

  load_queries<T, kHeadDim, C::kRows, C::kThreads>(p, seq.first_q + first, head, rows, smem + C::kQAt);
  const PagedHead paged = paged_head(p, blockIdx.z, kv_head, seq.kv_len);
  const auto load = [&](int stage_at, int kv, int page) {
    const std::uint32_t to = smem + stage_at;
    load_tokens<T, kHeadDim, kKeys, C::kThreads, 2>(p, paged, kv, page, {p.k_pages, p.v_pages},
                                                    {to, to + C::kTileBytes});
  };
  constexpr int kAhead = C::kStages - 1;
  static_assert(kAhead == 1 || !C::kQInRegisters);
#pragma unroll
  for (int i = 0; i < kAhead; ++i) {
    const int kv = kv_begin + i * kKeys;
    if (kv < kv_end) load(i * C::kStageBytes, kv, paged.page_of(kv));
    ptx::cp_async_commit();
  }

  const int warp_row = warp * C::kWarpRows;
  const std::uint32_t q_from = ptx::again(smem + C::kQAt + warp_row * kRowBytes + fragment_a<kRowBytes>(lane)),
                      k_from = ptx::again(smem + fragment_b<kRowBytes>(lane)),
                      v_from = smem + C::kTileBytes + fragment_a<kRowBytes>(lane);

  std::uint32_t q[C::kQInRegisters ? kHeadDim / 16 : 1][kRowTiles][4];
  if constexpr (C::kQInRegisters) {
    ptx::cp_async_wait<0>();
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; ++k)
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) ptx::ldmatrix_x4(q[k][m], (q_from ^ (32 * k)) + m * 16 * kRowBytes);
    __syncthreads();
  }

  float out[kRowTiles][kHeadDim / 8][4] = {};
  // Of each row, times scale and log2 e: what its weights' exponents are counted from; and the sum of its weights.
  float base[kRowTiles][2], sum[kRowTiles][2] = {};
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) base[m][0] = base[m][1] = kLowest;
  const float scale = p.scale * kLog2e;

  // Some query of this warp sees keys [seen, seen_end), all of them [clear, clear_end).
  const int first_position = seq.position(first + warp_row),
            last_position = seq.position(first + min(warp_row + C::kWarpRows, rows) - 1);
  const int seen = first_key(p, first_position),
            seen_end = warp_row < rows ? min(end_key(p, last_position, seq.kv_len), seq.kv_len) : 0;
  const int clear = first_key(p, last_position), clear_end = min(end_key(p, first_position, seq.kv_len), seq.kv_len);

  __shared__ int4 bounds[C::kThreads / 32];
  if (lane == 0) bounds[warp] = {seen, seen_end, clear, clear_end};
  __syncwarp();
  int stage = 0;
#pragma unroll 1
  for (int kv = kv_begin; kv < kv_end; kv += kKeys) {
    const int next = kv + kAhead * kKeys, page = paged.page_of(next);
    ptx::cp_async_wait<kAhead - 1>();
    __syncthreads();  // this tile is there, and every warp is done with the one before
    if (next < kv_end) load(stage == 0 ? kAhead * C::kStageBytes : stage - C::kStageBytes, next, page);
    ptx::cp_async_commit();
    const std::uint32_t k_tile = k_from + stage, v_tile = v_from + stage;
    stage = stage == kAhead * C::kStageBytes ? 0 : stage + C::kStageBytes;
    const volatile int* const bound = reinterpret_cast<const volatile int*>(&bounds[warp]);
    if (kv >= bound[1] || kv + kKeys <= bound[0]) continue;
    const bool masked = kv < bound[2] || kv + kKeys > bound[3];

    const std::uint32_t q_tile = ptx::again(q_from);
    float score[kRowTiles][kKeys / 8][4] = {};
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; ++k) {
      std::uint32_t a[kRowTiles][4];
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m)
        if constexpr (!C::kQInRegisters) ptx::ldmatrix_x4(a[m], (q_tile ^ (32 * k)) + m * 16 * kRowBytes);
#pragma unroll
      for (int n = 0; n < kKeys / 16; ++n) {
        std::uint32_t b[4];
        ptx::ldmatrix_x4(b, (k_tile ^ (32 * k)) + n * 16 * kRowBytes);
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) {
          const auto& row = C::kQInRegisters ? q[C::kQInRegisters ? k : 0][m] : a[m];
          ptx::mma_m16n8k16<T>(score[m][2 * n], row, b[0], b[1]);
          ptx::mma_m16n8k16<T>(score[m][2 * n + 1], row, b[2], b[3]);
        }
      }
    }

    if (masked) {
      const int lane = ptx::thread_again() % 32;
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int position = first_position + m * 16 + lane / 4 + 8 * half, token = kv + 2 * (lane % 4);
          const int from = first_key(p, position) - token,
                    end = min(end_key(p, position, seq.kv_len), seq.kv_len) - token;
#pragma unroll
          for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
            for (int j = 0; j < 2; ++j)
              if (n * 8 + j < from || n * 8 + j >= end) score[m][n][2 * half + j] = -INFINITY;
        }
    }

    float most[kRowTiles][2];
    bool moved = false;
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float& x = most[m][half];
        x = fmaxf(score[m][0][2 * half], score[m][0][2 * half + 1]);
#pragma unroll
        for (int n = 1; n < kKeys / 8; ++n) x = fmaxf(x, fmaxf(score[m][n][2 * half], score[m][n][2 * half + 1]));
        x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
        x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2)) * scale;
        moved = moved || x - base[m][half] > kSlack;
      }
    // The base moves only when a score is above it by more than kSlack: weights stay below 2^kSlack, and the sums so
    // far are seldom rescaled (FlashAttention-4's rule).
    if (__any_sync(0xffffffffu, moved)) {
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float to = most[m][half] - base[m][half] > kSlack ? most[m][half] : base[m][half];
          const float shrink = ptx::exp2_approx(base[m][half] - to);
          base[m][half] = to;
          sum[m][half] *= shrink;
#pragma unroll
          for (int d = 0; d < kHeadDim / 8; ++d) {
            out[m][d][2 * half] *= shrink;
            out[m][d][2 * half + 1] *= shrink;
          }
        }
    }

    // Two weights of 16 keys become element i of tile m of the A operand.
    std::uint32_t weight[2][kRowTiles][4];
    const auto raise = [&](int k, int m, int i) {
      const float* const x = &score[m][2 * k + i / 2][2 * (i % 2)];
      const float low = ptx::exp2_approx(fmaf(x[0], scale, -base[m][i % 2])),
                  high = ptx::exp2_approx(fmaf(x[1], scale, -base[m][i % 2]));
      sum[m][i % 2] += low + high;
      weight[k % 2][m][i] = pack_pair<T>(low, high);
    };
    constexpr int kSteps = kHeadDim / 16, kPairs = 4 * kRowTiles;
#pragma unroll
    for (int i = 0; i < kPairs; ++i) raise(0, i / 4, i % 4);
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k)
#pragma unroll
      for (int d = 0; d < kSteps; ++d) {
        std::uint32_t b[4];
        ptx::ldmatrix_x4_trans(b, (v_tile ^ (32 * d)) + k * 16 * kRowBytes);
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) {
          ptx::mma_m16n8k16<T>(out[m][2 * d], weight[k % 2][m], b[0], b[1]);
          ptx::mma_m16n8k16<T>(out[m][2 * d + 1], weight[k % 2][m], b[2], b[3]);
        }
        if (k + 1 < kKeys / 16)
#pragma unroll
          for (int i = d * kPairs / kSteps; i < (d + 1) * kPairs / kSteps; ++i) raise(k + 1, i / 4, i % 4);
      }
  }

#pragma unroll
  for (int m = 0; m < kRowTiles; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float& total = sum[m][half];
      total += __shfl_xor_sync(0xffffffffu, total, 1);
      total += __shfl_xor_sync(0xffffffffu, total, 2);
      total = 1.0f / total;
    }
  if constexpr (C::kQInRegisters)
    __syncthreads();  // the tiles' place
  else
    __syncwarp();
  store_rows<T, kHeadDim, kRowTiles>(p, seq.first_q + first + warp_row, head, rows - warp_row,
                                     smem_bytes + C::kQAt + warp_row * kRowBytes, ptx::thread_again() % 32,
                                     [&](int m, int d, int i) { return out[m][d][i] * sum[m][i / 2]; });
}

template <class T, class C>
cudaError_t run(const AttentionParams& p, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(p.heads), static_cast<unsigned>((p.max_q + C::kRows - 1) / C::kRows),
                  static_cast<unsigned>(p.seqs));
  return launch(flash_kernel<T, C>, grid, C::kThreads, C::kSmemBytes, stream, p);
}

// Blocks of many queries read keys and values least often; blocks of 64 where there would be too few of them to fill
// the card, or, under a causal mask, to even out their lengths. Which is faster where: docs/performance.md.
constexpr std::int64_t kFewBlocks = 256;
bool small_blocks(const AttentionParams& p) {
  const std::int64_t blocks = std::int64_t{p.heads} * p.seqs * ((p.max_q + 127) / 128);
  return blocks <= kFewBlocks || (p.head_dim <= 64 && p.causal && p.max_q <= 1024);
}

template <class T>
cudaError_t run_of(const AttentionParams& p, cudaStream_t stream) {
  const bool small = small_blocks(p);
  if (p.head_dim <= 64)
    return small ? run<T, FlashConfig<64, 4, 1, 64, 2, 3, true>>(p, stream)
                 : run<T, FlashConfig<64, 4, 2, 64, 2, 2, true>>(p, stream);
  if (p.head_dim <= 128)
    return small ? run<T, FlashConfig<128, 4, 1, 64, 2, 2, true>>(p, stream)
                 : run<T, FlashConfig<128, 4, 2, 64, 2, 2, false>>(p, stream);
  return run<T, FlashConfig<256, 4, 1, 32, 2, 2, true>>(p, stream);
}

}  // namespace

cudaError_t attention_flash(const AttentionParams& p, cudaStream_t stream) {
  return p.type == DType::bf16 ? run_of<__nv_bfloat16>(p, stream) : run_of<__half>(p, stream);
}

}  // namespace rl::cuda
