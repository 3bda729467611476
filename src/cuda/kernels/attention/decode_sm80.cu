// attention for sequences with one query: a stream over keys and values, shared out to as many blocks as the card
// holds.
//
// The query heads that share a kv head are rows of one mma (GQA packing): keys and values are read once for all of
// them. A (sequence, kv head) is cut into chunks of keys whose size depends on that sequence's length alone, so its
// bits do not depend on its neighbours or on the card. The chunks of all sequences are one list; each block has one of
// them or, where there are more chunks than blocks, an equal stretch of the list, and never stops reading: its warps
// each stream tiles of kTokens keys through a ring in shared memory with cp.async, kStages deep, across the borders of
// chunks. At a chunk's end the warps' results are merged, in the place of the tile just used, and written as a partial
// result. Whichever block completes the last chunk of a (sequence, kv head), counted by a semaphore, adds the partial
// results up, in the order of the chunks.
//
// A cache of e4m3 codes goes from shared memory to the mma as bf16 or fp16 numbers that are a power of two too small
// (common/convert.cuh): two shifts and two logical operations per pair. Four neighbouring codes of a register are the
// mma's k (for q k^T) or two of its columns (for p v) in another order, which the order of q's elements and of the
// result's columns makes good. Bytes: keys and values once, and 8 head_dim per query head and chunk written and read.
// Flops: 16 / group times more than needed, and far below what the tensor cores do meanwhile.

#include "cuda/kernels/attention/decode.cuh"
#include "cuda/kernels/common/element.cuh"
#include "cuda/kernels/common/resident.h"
#include "cuda/ptx/ptx.h"

namespace rl::cuda {
namespace {

// Partial results: the sum of exp2(score - largest) v, not divided, [seqs][heads][chunks][head_dim]; then `largest`
// (scaled by log2 e) and the sum of the weights, [seqs][heads][chunks].
struct Partials {
  float* values;
  float2* figures;
  int chunks;
  __device__ std::int64_t at(const AttentionParams& p, int seq, int head, int chunk) const {
    return (static_cast<std::int64_t>(seq) * p.heads + head) * chunks + chunk;
  }
};

// Of a (sequence, kv head), all of whose partial results are there: adds them up, a warp per query head.
template <class T, int kWarps>
__device__ inline void combine(const AttentionParams& p, const Partials& partials, int seq, int first_q, int kv_head,
                               int first_chunk, int end_chunk) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, group = p.heads / p.kv_heads;
  for (int row = warp; row < group; row += kWarps) {
    const int head = kv_head * group + row;
    const std::int64_t of_head = partials.at(p, seq, head, 0);
    const float2* const figures = partials.figures + of_head;
    float most = -INFINITY;
    for (int c = first_chunk + lane; c < end_chunk; c += 32) most = fmaxf(most, __ldcg(figures + c).x);
    most = warp_max(most);
    T* const to = static_cast<T*>(p.out) + (static_cast<std::int64_t>(first_q) * p.heads + head) * p.head_dim;
    for (int d = 4 * lane; d < p.head_dim; d += 128) {
      float4 value = {};
      float weights = 0;
#pragma unroll 8
      for (int c = first_chunk; c < end_chunk; ++c) {
        const float2 figure = __ldcg(figures + c);
        const float4 v = __ldcg(reinterpret_cast<const float4*>(partials.values + (of_head + c) * p.head_dim + d));
        const float factor = ptx::exp2_approx(figure.x - most);
        weights = fmaf(figure.y, factor, weights);
        value.x = fmaf(v.x, factor, value.x), value.y = fmaf(v.y, factor, value.y);
        value.z = fmaf(v.z, factor, value.z), value.w = fmaf(v.w, factor, value.w);
      }
      const float inverse = 1.0f / weights;
      const uint2 rounded = {pack_pair<T>(value.x * inverse, value.y * inverse),
                             pack_pair<T>(value.z * inverse, value.w * inverse)};
      *reinterpret_cast<uint2*>(to + d) = rounded;
    }
  }
}

template <class T, bool kCodes, int kHeadDim>
__global__ void __launch_bounds__(DecodeConfig<kCodes, kHeadDim>::kThreads, kHeadDim <= 128 ? 2 : 1)
    decode_kernel(AttentionParams p, Partials partials, std::uint32_t* semaphores) {
  using C = DecodeConfig<kCodes, kHeadDim>;
  using Element = std::conditional_t<kCodes, std::uint8_t, T>;
  constexpr int kScores = C::kTokens / 8;  // mma columns of a tile
  extern __shared__ __align__(128) unsigned char smem[];
  __shared__ float2 figures[C::kWarps][kDecodeRows];
  __shared__ bool is_last;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, group = p.heads / p.kv_heads;
  const int page_shift = log2_of(p.page_tokens);

  ptx::let_successors_begin();
  // What a step's inputs say is older than any kernel of the step.
  Walk<kCodes, kHeadDim> now;
  if (!now.begin_at(p, static_cast<int>(blockIdx.x), static_cast<int>(gridDim.x))) {
    if (blockIdx.x == 0) ptx::wait_for_predecessors();  // or a grid without work would end before its predecessors
    return;
  }
  Walk<kCodes, kHeadDim> ahead = now;  // what is to be loaded next
  bool more = true;                    // there is something
  ahead.look_up(p, page_shift, warp);

  unsigned char* const ring = smem + warp * C::kWarpBytes;
  constexpr int kLaneRows = 32 / C::kPieces;  // of a tile, that the lanes of a warp load at once
  const int lane_row = lane / C::kPieces, lane_piece = lane % C::kPieces;
  const int lane_at = piece_at<C::kRowBytes>(lane_row, lane_piece);
  const bool has_piece = lane_piece * C::kPerPiece < p.head_dim;
  const auto load_next = [&](int slot) {
    const int kv = ahead.tile(warp);
    unsigned char* const to = ring + slot * C::kSlotBytes;
    const int rows = has_piece ? ahead.end - kv : 0;
    const auto* const k_pages = static_cast<const Element*>(p.k_pages) + lane_piece * C::kPerPiece;
    const auto* const v_pages = static_cast<const Element*>(p.v_pages) + lane_piece * C::kPerPiece;
    const auto load = [&](int pass, std::int64_t from) {
      unsigned char* const k_to =
          to + C::kRowBytes * kLaneRows * pass + (lane_at ^ piece_moved<C::kRowBytes, kLaneRows>(pass));
      const bool valid = lane_row + kLaneRows * pass < rows;
      ptx::cp_async_16(k_to, k_pages + from, valid);
      ptx::cp_async_16(k_to + C::kTileBytes, v_pages + from, valid);
    };
    if (p.page_tokens >= C::kTokens) {
      const std::int64_t tile = (((static_cast<std::int64_t>(ahead.page) * p.kv_heads + ahead.kv_head) << page_shift) +
                                 (kv & (p.page_tokens - 1)) + lane_row) *
                                p.head_dim;
#pragma unroll
      for (int pass = 0; pass < C::kTokens / kLaneRows; ++pass) load(pass, tile + pass * kLaneRows * p.head_dim);
    } else {
      const std::int32_t* const pages = p.page_table + ahead.seq * p.page_table_stride;
#pragma unroll 1
      for (int pass = 0; pass < C::kTokens / kLaneRows; ++pass) {
        const int token = lane_row + kLaneRows * pass;
        load(pass, token < rows ? row_of(p, pages, page_shift, ahead.kv_head, kv + token) : 0);
      }
    }
    if (++ahead.step == ahead.steps) more = ahead.next(p);
    if (more) ahead.look_up(p, page_shift, warp);
  };
  // Keys and values are older than this step, but for a sequence's last: a tile with it is loaded after the wait.
  int loaded = 0;
  while (loaded < C::kStages - 1 && more && ahead.tile(warp) + C::kTokens < ahead.kv_len) {
    load_next(loaded++);
    ptx::cp_async_commit();
  }
  ptx::wait_for_predecessors();
#pragma unroll 1
  for (; loaded < C::kStages - 1; ++loaded) {
    if (more) load_next(loaded);
    ptx::cp_async_commit();
  }

  // Queries as A operands, straight from memory: lane / 4 is the row, rows past the group are zeros. Where the result
  // takes the registers they are read again for each tile.
  constexpr bool kKeepQueries = kHeadDim <= 128;
  std::uint32_t q[kKeepQueries ? kHeadDim / 16 : 1][4];
  const auto load_query = [&](int k, std::uint32_t(&to)[4]) {
    const T* const rows = static_cast<const T*>(p.q) + now.first_q * p.q_stride + now.kv_head * group * p.head_dim;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = lane / 4 + 8 * half;
      if constexpr (kCodes) {
        const int at = k * 16 + 4 * (lane % 4);
        uint2 four = {};
        if (row < group && at < p.head_dim) four = *reinterpret_cast<const uint2*>(rows + row * p.head_dim + at);
        to[half] = CodeScales<T>::query(__byte_perm(four.x, four.y, 0x5410));
        to[half + 2] = CodeScales<T>::query(__byte_perm(four.x, four.y, 0x7632));
      } else {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int at = k * 16 + 2 * (lane % 4) + 8 * i;
          to[half + 2 * i] = row < group && at < p.head_dim
                                 ? *reinterpret_cast<const std::uint32_t*>(rows + row * p.head_dim + at)
                                 : 0u;
        }
      }
    }
  };
  const auto load_queries = [&] {
#pragma unroll
    for (int k = 0; k < (kKeepQueries ? kHeadDim / 16 : 0); ++k) load_query(k, q[k]);
  };
  load_queries();

  const float scale = p.scale * kLog2e * (kCodes ? CodeScales<T>::kScore : 1.0f);
  int slot = 0, finished = 0;  // finished: chunks of this (sequence, kv head), by this block
  while (true) {
    float out[kHeadDim / 8][4] = {};
    float largest[2] = {-INFINITY, -INFINITY}, sum[2] = {};
    unsigned char* tile = nullptr;
    for (; now.step < now.steps; ++now.step) {
      ptx::cp_async_wait<C::kStages - 2>();
      __syncwarp();  // this tile is there, and every lane is done with the one before
      if (more) load_next(slot == 0 ? C::kStages - 1 : slot - 1);
      ptx::cp_async_commit();
      tile = ring + slot * C::kSlotBytes;
      const unsigned char* const v_tile = tile + C::kTileBytes;
      if (++slot == C::kStages) slot = 0;
      const int kv = now.tile(warp);

      float score[kScores][4] = {};
#pragma unroll
      for (int k = 0; k < kHeadDim / 16; ++k) {
        std::uint32_t(&a)[4] = q[kKeepQueries ? k : 0];
        if constexpr (!kKeepQueries) load_query(k, a);
        std::uint32_t b[4];
        if constexpr (kCodes) {
          ptx::ldmatrix_x4(b, tile + piece_at<C::kRowBytes>(lane, k));
#pragma unroll
          for (int n = 0; n < kScores; ++n) ptx::mma_m16n8k16<T>(score[n], a, even_codes<T>(b[n]), odd_codes<T>(b[n]));
        } else {
          ptx::ldmatrix_x4(b, tile + piece_at<C::kRowBytes>(lane % 8 + (lane / 16) * 8, 2 * k + (lane / 8) % 2));
          ptx::mma_m16n8k16<T>(score[0], a, b[0], b[1]);
          ptx::mma_m16n8k16<T>(score[1], a, b[2], b[3]);
        }
      }
      const bool border = kv < now.begin || kv + C::kTokens > now.end;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        if (half == 1 && group <= 8) continue;  // rows of zeros
        float most = largest[half];
#pragma unroll
        for (int n = 0; n < kScores; ++n)
#pragma unroll
          for (int j = 0; j < 2; ++j) {
            const int token = kv + n * 8 + 2 * (lane % 4) + j;
            if (border && (token < now.begin || token >= now.end)) score[n][2 * half + j] = -INFINITY;
            most = fmaxf(most, score[n][2 * half + j]);
          }
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2));
        const float base = most == -INFINITY ? 0.0f : most * scale;
        if (__any_sync(0xffffffffu, most != largest[half])) {
          const float shrink = ptx::exp2_approx(largest[half] * scale - base);
          largest[half] = most;
          sum[half] *= shrink;
#pragma unroll
          for (int d = 0; d < kHeadDim / 8; ++d) {
            out[d][2 * half] *= shrink;
            out[d][2 * half + 1] *= shrink;
          }
        }
        const float offset = (kCodes ? CodeScales<T>::kWeight : 0.0f) - base;
#pragma unroll
        for (int n = 0; n < kScores; ++n)
#pragma unroll
          for (int j = 0; j < 2; ++j) {
            float& x = score[n][2 * half + j];
            x = ptx::exp2_approx(fmaf(x, scale, offset));
            sum[half] += x;
          }
      }
      std::uint32_t a[C::kTokens / 16][4];
#pragma unroll
      for (int m = 0; m < C::kTokens / 16; ++m)
#pragma unroll
        for (int i = 0; i < 4; ++i)
          a[m][i] = pack_pair<T>(score[2 * m + i / 2][2 * (i % 2)], score[2 * m + i / 2][2 * (i % 2) + 1]);
#pragma unroll
      for (int d = 0; d < kHeadDim / 16; ++d) {
        std::uint32_t b[4];
        if constexpr (kCodes) {
          ptx::ldmatrix_x4_trans(b, v_tile + piece_at<C::kRowBytes>(lane, d));
#pragma unroll
          for (int m = 0; m < 2; ++m) {
            ptx::mma_m16n8k16<T>(out[2 * d], a[m], even_codes<T>(b[2 * m]), even_codes<T>(b[2 * m + 1]));
            ptx::mma_m16n8k16<T>(out[2 * d + 1], a[m], odd_codes<T>(b[2 * m]), odd_codes<T>(b[2 * m + 1]));
          }
        } else {
          ptx::ldmatrix_x4_trans(b, v_tile + piece_at<C::kRowBytes>(lane % 16, 2 * d + lane / 16));
          ptx::mma_m16n8k16<T>(out[2 * d], a[0], b[0], b[1]);
          ptx::mma_m16n8k16<T>(out[2 * d + 1], a[0], b[2], b[3]);
        }
      }
    }

    // The warps' results, where their last tiles were: [group][head_dim], pieces of 8 moved about by the row, so that
    // rows begin in different banks.
    __syncwarp();
    const auto moved = [](int row, int d) { return row * kHeadDim + (d ^ ((row % 4) * 8)); };
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = lane / 4 + 8 * half;
      float total = sum[half];
      total += __shfl_xor_sync(0xffffffffu, total, 1);
      total += __shfl_xor_sync(0xffffffffu, total, 2);
      if (row >= group) continue;
      auto* const to = reinterpret_cast<float*>(tile);
#pragma unroll
      for (int d = 0; d < kHeadDim / 16; ++d) {
        const float x[4] = {out[2 * d][2 * half], out[2 * d][2 * half + 1], out[2 * d + 1][2 * half],
                            out[2 * d + 1][2 * half + 1]};
        if constexpr (kCodes) {
          *reinterpret_cast<float4*>(to + moved(row, d * 16 + 4 * (lane % 4))) = {x[0], x[2], x[1], x[3]};
        } else {
          *reinterpret_cast<float2*>(to + moved(row, d * 16 + 2 * (lane % 4))) = {x[0], x[1]};
          *reinterpret_cast<float2*>(to + moved(row, d * 16 + 8 + 2 * (lane % 4))) = {x[2], x[3]};
        }
      }
      if (lane % 4 == 0) figures[warp][row] = {largest[half] * scale, total};
    }
    __syncthreads();
    const int in_slot = static_cast<int>(tile - ring);  // the same in every warp's ring
    for (int i = threadIdx.x; i < group * (p.head_dim / 4); i += C::kThreads) {
      const int row = i / (p.head_dim / 4), d = i % (p.head_dim / 4) * 4;
      float most = -INFINITY;
#pragma unroll
      for (int w = 0; w < C::kWarps; ++w) most = fmaxf(most, figures[w][row].x);
      float4 value = {};
      float weights = 0;
#pragma unroll
      for (int w = 0; w < C::kWarps; ++w) {
        const float factor = ptx::exp2_approx(figures[w][row].x - most);
        const auto* const from = reinterpret_cast<const float*>(smem + w * C::kWarpBytes + in_slot);
        const float4 v = *reinterpret_cast<const float4*>(from + moved(row, d));
        weights = fmaf(figures[w][row].y, factor, weights);
        value.x = fmaf(v.x, factor, value.x), value.y = fmaf(v.y, factor, value.y);
        value.z = fmaf(v.z, factor, value.z), value.w = fmaf(v.w, factor, value.w);
      }
      if constexpr (kCodes) {
        weights *= CodeScales<T>::kSum;
        value.x *= CodeScales<T>::kValue, value.y *= CodeScales<T>::kValue;
        value.z *= CodeScales<T>::kValue, value.w *= CodeScales<T>::kValue;
      }
      const std::int64_t at = partials.at(p, now.seq, now.kv_head * group + row, now.chunk);
      *reinterpret_cast<float4*>(partials.values + at * p.head_dim + d) = value;
      if (d == 0) partials.figures[at] = {most, weights};
    }

    ++finished;
    const int seq = now.seq, kv_head = now.kv_head, first_q = now.first_q;
    const int first_chunk = now.first >> now.chunk_shift;
    const int end_chunk = ((now.kv_len - 1) >> now.chunk_shift) + 1, chunks = end_chunk - first_chunk;
    const bool goes_on = now.next(p);
    if (goes_on && now.seq == seq && now.kv_head == kv_head) {
      __syncthreads();  // merged, before the tiles' place is loaded into again
      continue;
    }
    __syncthreads();
    if (finished < chunks) {
      std::uint32_t* const semaphore = semaphores + static_cast<std::int64_t>(seq) * p.kv_heads + kv_head;
      if (threadIdx.x == 0)
        is_last = ptx::add_in_turn(semaphore, static_cast<std::uint32_t>(finished)) + finished == chunks;
      __syncthreads();
      if (is_last && threadIdx.x == 0) *semaphore = 0;  // as the next launch wants it
    }
    if (finished == chunks || is_last)
      combine<T, C::kWarps>(p, partials, seq, first_q, kv_head, first_chunk, end_chunk);
    if (!goes_on) return;
    finished = 0;
    load_queries();
  }
}

template <bool kCodes>
Partials partials_in(const AttentionParams& p, void* workspace) {
  const int chunks = chunks_of<kCodes>(p.max_kv).most;
  auto* const values = static_cast<float*>(workspace);
  const std::int64_t rows = static_cast<std::int64_t>(p.seqs) * p.heads * chunks;
  return {values, reinterpret_cast<float2*>(values + rows * p.head_dim), chunks};
}

template <class T, bool kCodes, int kHeadDim>
cudaError_t run(const AttentionParams& p, void* workspace, std::uint32_t* semaphores, cudaStream_t stream) {
  using C = DecodeConfig<kCodes, kHeadDim>;
  const Partials partials = partials_in<kCodes>(p, workspace);
  int blocks = 0;
  if (const cudaError_t code = resident_blocks<decode_kernel<T, kCodes, kHeadDim>>(C::kThreads, C::kSmemBytes, blocks);
      code != cudaSuccess)
    return code;
  const std::int64_t chunks = static_cast<std::int64_t>(p.seqs) * p.kv_heads * partials.chunks;
  const dim3 grid(static_cast<unsigned>(chunks < blocks ? chunks : blocks));
  return launch(decode_kernel<T, kCodes, kHeadDim>, grid, C::kThreads, C::kSmemBytes, stream, p, partials, semaphores);
}

template <class T, bool kCodes>
cudaError_t run_of(const AttentionParams& p, void* workspace, std::uint32_t* semaphores, cudaStream_t stream) {
  if (p.head_dim <= 64) return run<T, kCodes, 64>(p, workspace, semaphores, stream);
  if (p.head_dim <= 128) return run<T, kCodes, 128>(p, workspace, semaphores, stream);
  if constexpr (!kCodes) return run<T, kCodes, 256>(p, workspace, semaphores, stream);
  return cudaErrorInvalidValue;
}

template <class T>
cudaError_t run_cache(const AttentionParams& p, void* workspace, std::uint32_t* semaphores, cudaStream_t stream) {
  return p.cache_type == DType::f8_e4m3 ? run_of<T, true>(p, workspace, semaphores, stream)
                                        : run_of<T, false>(p, workspace, semaphores, stream);
}

}  // namespace

std::int64_t attention_decode_workspace(const AttentionParams& p) {
  const int chunks = p.cache_type == DType::f8_e4m3 ? chunks_of<true>(p.max_kv).most : chunks_of<false>(p.max_kv).most;
  return static_cast<std::int64_t>(p.seqs) * p.heads * chunks * (p.head_dim + 2) * 4;
}

cudaError_t attention_decode(const AttentionParams& p, void* workspace, std::uint32_t* semaphores,
                             cudaStream_t stream) {
  return p.type == DType::bf16 ? run_cache<__nv_bfloat16>(p, workspace, semaphores, stream)
                               : run_cache<__half>(p, workspace, semaphores, stream);
}

}  // namespace rl::cuda
