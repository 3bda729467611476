// attention for sequences with many queries on 9.0: FlashAttention-3 (Shah et al., arXiv 2407.08608), its 16-bit part,
// over pages.
//
//   - an item is 128 queries of one head of one sequence, 64 for each of two warpgroups that multiply; blocks stay, and
//     take the next item when they have room for it
//   - a warp loads queries, keys and values by TMA from their pages into rings, as far ahead as there is room, across
//     items
//   - scores of a tile of keys and the values' product of the tile before are asked for together; while the latter
//     runs, the former's softmax is taken. The two warpgroups ask in turn, so that one's softmax has the other's
//     products beside it
//   - weights go from accumulators to the A operand in registers; values are the transposed B operand
// Tokens past kv_len are zeros in shared memory, whatever their page holds: the warp that loads writes them into a
// sequence's last tile. Head dimensions in between are padded with zeros. Flops: 4 head_dim per query and key seen.
// Bytes: q and out once; k and v once per item, mostly from L2.

#include <algorithm>

#include "cuda/kernels/attention/paged.cuh"
#include "cuda/kernels/common/element.cuh"
#include "cuda/kernels/common/quad.cuh"
#include "cuda/kernels/common/resident.h"
#include "cuda/kernels/common/ring.cuh"
#include "cuda/kernels/common/tensor_map.h"
#include "cuda/ptx/tensor_copy.h"
#include "cuda/ptx/wgmma.h"

namespace rl::cuda {
namespace {

constexpr int kGroup = 128, kGroups = 2, kThreads = (1 + kGroups) * kGroup;
constexpr int kGroupRows = 64, kRows = kGroups * kGroupRows;  // queries
constexpr int kPiece = 64, kPieceBytes = 128;                 // of a row: as much as a box is wide
constexpr int kStep = 16;                                     // of what one product sums over
constexpr int kAlignment = 1024;  // of tiles: the pattern in which boxes are swizzled repeats after that
constexpr int kLoadRegisters = 40, kMultiplyRegisters = 232;
constexpr float kSlack = 8;  // as in flash_sm80.cu
constexpr float kLowest = -3e38f;

// Tiles lie piece by piece: of all rows the first 64 columns, then of all the next.
template <int kHeadDim_, int kKeys_, int kStages_>
struct Config {
  static constexpr int kHeadDim = kHeadDim_, kKeys = kKeys_, kStages = kStages_;
  static constexpr int kPieces = kHeadDim / kPiece;
  static constexpr int kQBytes = kRows * kHeadDim * 2, kTileBytes = kKeys * kHeadDim * 2;
  static constexpr int kSmemBytes = kAlignment + kQBytes + 2 * kStages * kTileBytes;
  static_assert(kSmemBytes <= 226 * 1024);
};

// What a block does at a time.
struct Item {
  Sequence seq;
  int s, head, first, rows, kv_begin, kv_end;  // no rows: there is none left
};

// Finds items by their number: sequence by sequence, of each its blocks of queries from the last on, since those see
// most keys under a causal mask, of each block all heads. Whole warps; numbers only grow.
struct Finder {
  int s = 0, before = 0;  // a sequence, and the blocks of those before it

  template <int kKeys>
  __device__ Item find(const AttentionParams& p, int number) {
    const int lane = threadIdx.x % 32, block = number / p.heads;
    for (; s < p.seqs; s += 32) {
      int blocks = 0;
      if (s + lane < p.seqs) {
        const int queries = p.cu_q[s + lane + 1] - p.cu_q[s + lane];
        if (!p.one_query_apart || queries != 1) blocks = (queries + kRows - 1) / kRows;
      }
      int upto = before + blocks;
#pragma unroll
      for (int offset = 1; offset < 32; offset *= 2) {
        const int other = __shfl_up_sync(0xffffffffu, upto, offset);
        if (lane >= offset) upto += other - before;
      }
      if (const unsigned behind = __ballot_sync(0xffffffffu, upto > block); behind != 0) {
        const int found = __ffs(behind) - 1;
        const int from_last = block - __shfl_sync(0xffffffffu, upto - blocks, found);
        const int last = __shfl_sync(0xffffffffu, blocks, found) - 1;
        Item item{.seq = sequence_of(p, s + found), .s = s + found, .head = number % p.heads};
        item.first = (last - from_last) * kRows;
        item.rows = min(kRows, item.seq.queries - item.first);
        const int first = item.seq.position(item.first), end = end_key(p, first + item.rows - 1, item.seq.kv_len);
        item.kv_begin = first_key(p, first) / kKeys * kKeys;
        item.kv_end = min(end, item.seq.kv_len);
        return item;
      }
      before = __shfl_sync(0xffffffffu, upto, 31);
    }
    return {};
  }
};

template <class C>
struct Shared {
  std::uint64_t q_there, q_read, k_there[C::kStages], k_read[C::kStages], v_there[C::kStages], v_read[C::kStages], tail;
  std::uint64_t item_there, item_read;
  Item item;
};

// One warp. K of a tile is needed before V of the tile before. counters: how many items beyond the first of each block
// have been taken, and how many blocks are done.
template <class C>
__device__ inline void load_items(const AttentionParams& p, const CUtensorMap& q_map, const CUtensorMap& k_map,
                                  const CUtensorMap& v_map, std::uint32_t* counters, std::uint32_t smem,
                                  Shared<C>& shared) {
  const int lane = threadIdx.x % 32, blocks = static_cast<int>(gridDim.x);
  const std::uint32_t k_at = smem + C::kQBytes, v_at = k_at + C::kStages * C::kTileBytes;
  const int page_shift = log2_of(p.page_tokens), box = min(p.page_tokens, C::kKeys), boxes = C::kKeys / box;
  Finder finder;
  int parity = 1, tail_parity = 0;
  Turn k{.parity = 1}, v{.parity = 1};
  int number = static_cast<int>(blockIdx.x);
#pragma unroll 1
  for (;;) {
    const Item item = finder.find<C::kKeys>(p, number);
    ptx::mbarrier_wait(&shared.item_read, parity);
    if (lane == 0) {
      shared.item = item;
      ptx::mbarrier_arrive(&shared.item_there);
    }
    if (item.rows == 0) break;
    ptx::mbarrier_wait(&shared.q_read, parity);
    parity ^= 1;
    if (lane == 0) ptx::mbarrier_expect(&shared.q_there, C::kQBytes);
    __syncwarp();
    if (lane < C::kPieces)
      ptx::copy_box(smem + lane * kRows * kPieceBytes, q_map, &shared.q_there, lane * kPiece, item.head,
                    item.seq.first_q + item.first);
    std::uint32_t taken = 0;
    if (lane == 0) taken = atomicAdd(&counters[0], 1);

    const std::int32_t* const pages = p.page_table + item.s * p.page_table_stride;
    const int kv_head = item.head / (p.heads / p.kv_heads);
    // The boxes of a tile that hold tokens, a lane each.
    const auto load_tile = [&](const CUtensorMap& map, int kv, std::uint32_t to, std::uint64_t* barrier) {
      const int held = min(boxes, (item.seq.kv_len - kv + box - 1) / box);
      if (lane == 0) ptx::mbarrier_expect(barrier, held * C::kPieces * box * kPieceBytes);
      __syncwarp();
      for (int i = lane; i < held * C::kPieces; i += 32) {
        const int piece = i % C::kPieces, from = i / C::kPieces * box, token = kv + from;
        const int row =
            ((pages[token >> page_shift] * p.kv_heads + kv_head) << page_shift) + (token & (p.page_tokens - 1));
        ptx::copy_box(to + (piece * C::kKeys + from) * kPieceBytes, map, barrier, piece * kPiece, row);
      }
    };
    const auto load_k = [&](int kv) {
      ptx::mbarrier_wait(&shared.k_read[k.slot], k.parity);
      load_tile(k_map, kv, k_at + k.slot * C::kTileBytes, &shared.k_there[k.slot]);
      k.next(C::kStages);
    };
    const auto load_v = [&](int kv) {
      const std::uint32_t to = v_at + v.slot * C::kTileBytes;
      const int held = item.seq.kv_len - kv;
      ptx::mbarrier_wait(&shared.v_read[v.slot], v.parity);
      load_tile(v_map, kv, to, held >= C::kKeys ? &shared.v_there[v.slot] : &shared.tail);
      if (held < C::kKeys) {
        ptx::mbarrier_wait(&shared.tail, tail_parity);
        tail_parity ^= 1;
        for (int piece = 0; piece < C::kPieces; ++piece) {
          const std::uint32_t rows = to + piece * C::kKeys * kPieceBytes;
          for (int at = held * kPieceBytes + lane * 16; at < C::kKeys * kPieceBytes; at += 32 * 16)
            ptx::store_zeros(rows + at);
        }
        ptx::fence_async();
        __syncwarp();
        if (lane == 0) ptx::mbarrier_arrive(&shared.v_there[v.slot]);
      }
      v.next(C::kStages);
    };
    load_k(item.kv_begin);
    int kv = item.kv_begin;
    for (; kv + C::kKeys < item.kv_end; kv += C::kKeys) {
      load_k(kv + C::kKeys);
      load_v(kv);
    }
    load_v(kv);
    number = blocks + static_cast<int>(__shfl_sync(0xffffffffu, taken, 0));
  }
  if (lane == 0 && ptx::add_in_turn(&counters[1], 1) == gridDim.x - 1) counters[0] = counters[1] = 0;
}

// One warpgroup.
template <class T, class C>
__device__ inline void compute_items(const AttentionParams& p, int group, std::uint32_t smem, Shared<C>& shared) {
  constexpr int kHeadDim = C::kHeadDim, kKeys = C::kKeys;
  constexpr int kOut = std::min(kHeadDim, 128);  // columns of one product of values
  const int warp = threadIdx.x % kGroup / 32, lane = threadIdx.x % 32;
  const std::uint32_t k_at = smem + C::kQBytes, v_at = k_at + C::kStages * C::kTileBytes;
  const std::uint64_t q_operand = ptx::rows_of_128_bytes(smem + group * kGroupRows * kPieceBytes);
  const float scale = p.scale * kLog2e;
  const auto take_turn = [&] { ptx::barrier(1 + group, kGroups * kGroup); };
  const auto pass_turn = [&] { ptx::barrier_arrive(2 - group, kGroups * kGroup); };
  const auto arrive = [&](std::uint64_t* barrier) {
    if (lane == 0) ptx::mbarrier_arrive(barrier);
  };
  if (group == 1) pass_turn();

  int parity = 0;
  Turn k, v;
#pragma unroll 1
  for (;;) {
    ptx::mbarrier_wait(&shared.item_there, parity);
    const Item item = shared.item;
    if (item.rows == 0) break;
    __syncwarp();  // all lanes have read
    arrive(&shared.item_read);
    const int warp_row = group * kGroupRows + warp * 16;
    const int first_position = item.seq.position(item.first + warp_row);
    // All of this warp's queries see keys [clear, clear_end).
    const int clear = first_key(p, first_position + 15),
              clear_end = min(end_key(p, first_position, item.seq.kv_len), item.seq.kv_len);

    float out[kHeadDim / kOut][kOut / 2] = {}, score[kKeys / 2] = {};
    std::uint32_t weight[kKeys / kStep][4];
    // Of rows lane / 4 and 8 more, times scale and log2 e: what the weights' exponents are counted from; and the sum.
    float base[2] = {kLowest, kLowest}, sum[2] = {};

    const auto values_there = [&] {
#pragma unroll
      for (int d = 0; d < kHeadDim / kOut; ++d) ptx::here(out[d]);
    };
    const auto ask_scores = [&] {
      ptx::here(score);
      ptx::wgmma_fence();
      const std::uint64_t k_operand = ptx::rows_of_128_bytes(k_at + k.slot * C::kTileBytes);
#pragma unroll
      for (int i = 0; i < kHeadDim / kStep; ++i) {
        constexpr int kInPiece = kPiece / kStep;
        const std::uint64_t column = i % kInPiece * kStep * 2 / 16;
        ptx::wgmma_rows<T>(score, q_operand + i / kInPiece * (kRows * kPieceBytes / 16) + column,
                           k_operand + i / kInPiece * (kKeys * kPieceBytes / 16) + column, i > 0);
      }
      ptx::wgmma_commit();
    };
    const auto ask_values = [&](bool add) {
      values_there();
      ptx::wgmma_fence();
      const std::uint64_t v_operand = ptx::columns_of_128_bytes(v_at + v.slot * C::kTileBytes, kKeys * kPieceBytes);
#pragma unroll
      for (int i = 0; i < kKeys / kStep; ++i)
#pragma unroll
        for (int d = 0; d < kHeadDim / kOut; ++d)
          ptx::wgmma_columns<T>(out[d], weight[i],
                                v_operand + (d * (kOut / kPiece) * kKeys + i * kStep) * (kPieceBytes / 16),
                                add || i > 0);
      ptx::wgmma_commit();
    };
    // Scores become weights, in place; the sums so far are to be multiplied with `shrink` if it says so.
    float shrink[2];
    const auto soften = [&](int kv) -> bool {
      if (kv < clear || kv + kKeys > clear_end) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int position = first_position + lane / 4 + 8 * half, token = kv + 2 * (lane % 4);
          const int from = first_key(p, position) - token,
                    end = min(end_key(p, position, item.seq.kv_len), item.seq.kv_len) - token;
#pragma unroll
          for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
            for (int j = 0; j < 2; ++j)
              if (n * 8 + j < from || n * 8 + j >= end) score[4 * n + 2 * half + j] = -INFINITY;
        }
      }
      bool moved = false;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float most = fmaxf(score[2 * half], score[2 * half + 1]);
#pragma unroll
        for (int n = 1; n < kKeys / 8; ++n)
          most = fmaxf(most, fmaxf(score[4 * n + 2 * half], score[4 * n + 2 * half + 1]));
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2)) * scale;
        // The base moves only when a score is above it by more than kSlack (FlashAttention-4's rule).
        const bool moves = most - base[half] > kSlack;
        shrink[half] = moves ? ptx::exp2_approx(base[half] - most) : 1.0f;
        if (moves) base[half] = most;
        moved = moved || moves;
        float more = 0;
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
          for (int j = 0; j < 2; ++j) {
            float& x = score[4 * n + 2 * half + j];
            x = ptx::exp2_approx(fmaf(x, scale, -base[half]));
            more += x;
          }
        sum[half] = sum[half] * shrink[half] + more;
      }
      return __any_sync(0xffffffffu, moved);
    };
    const auto pack = [&] {
#pragma unroll
      for (int i = 0; i < kKeys / kStep; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) weight[i][j] = pack_pair<T>(score[8 * i + 2 * j], score[8 * i + 2 * j + 1]);
    };

    ptx::mbarrier_wait(&shared.q_there, parity);
    parity ^= 1;
    ptx::mbarrier_wait(&shared.k_there[k.slot], k.parity);
    take_turn();
    ask_scores();
    pass_turn();
    ptx::wgmma_wait<0>();
    ptx::here(score);
    arrive(&shared.k_read[k.slot]);
    k.next(C::kStages);
    soften(item.kv_begin);
    pack();

    bool add = false;
#pragma unroll 1
    for (int kv = item.kv_begin + kKeys; kv < item.kv_end; kv += kKeys) {
      ptx::mbarrier_wait(&shared.k_there[k.slot], k.parity);
      take_turn();
      ask_scores();
      ptx::mbarrier_wait(&shared.v_there[v.slot], v.parity);
      ask_values(add);
      add = true;
      pass_turn();
      ptx::wgmma_wait<1>();
      ptx::here(score);
      arrive(&shared.k_read[k.slot]);
      k.next(C::kStages);
      const bool moved = soften(kv);
      ptx::wgmma_wait<0>();
      values_there();
      arrive(&shared.v_read[v.slot]);
      v.next(C::kStages);
      if (moved) {
#pragma unroll
        for (int d = 0; d < kHeadDim / kOut; ++d)
#pragma unroll
          for (int i = 0; i < kOut / 2; ++i) out[d][i] *= shrink[i / 2 % 2];
      }
      pack();
    }
    arrive(&shared.q_read);
    ptx::mbarrier_wait(&shared.v_there[v.slot], v.parity);
    ask_values(add);
    ptx::wgmma_wait<0>();
    values_there();
    arrive(&shared.v_read[v.slot]);
    v.next(C::kStages);

#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float total = sum[half];
      total += __shfl_xor_sync(0xffffffffu, total, 1);
      total += __shfl_xor_sync(0xffffffffu, total, 2);
      const float inverse = 1.0f / total;
      const int row = warp_row + lane / 4 + 8 * half;
      T* const to = static_cast<T*>(p.out) +
                    (static_cast<std::int64_t>(item.seq.first_q + item.first + row) * p.heads + item.head) * p.head_dim;
#pragma unroll
      for (int d = 0; d < kHeadDim / kOut; ++d)
#pragma unroll
        for (int quad = 0; quad < kOut / 8; quad += 4) {
          std::uint32_t word[4];
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            const float* const pair = &out[d][4 * (quad + j) + 2 * half];
            word[j] = pack_pair<T>(pair[0] * inverse, pair[1] * inverse);
          }
          transpose_quad(word, lane);  // eight columns of a lane for two of each of four
          const int column = d * kOut + 8 * (quad + lane % 4);
          if (row < item.rows && column < p.head_dim)
            *reinterpret_cast<uint4*>(to + column) = {word[0], word[1], word[2], word[3]};
        }
    }
  }
  if (group == 0) take_turn();  // what the other has passed last
}

template <class T, class C>
__global__ void __launch_bounds__(kThreads, 1)
    flash_wgmma_kernel(const __grid_constant__ CUtensorMap q_map, const __grid_constant__ CUtensorMap k_map,
                       const __grid_constant__ CUtensorMap v_map, std::uint32_t* counters, AttentionParams p) {
  extern __shared__ unsigned char unaligned[];
  __shared__ Shared<C> shared;
  const int thread = static_cast<int>(threadIdx.x), group = thread / kGroup;
  const std::uint32_t smem =
      ptx::smem_address(unaligned) + (-ptx::smem_address(unaligned) & static_cast<std::uint32_t>(kAlignment - 1));
  if (thread == 0) {
    constexpr int kReaders = kGroups * kGroup / 32;
    ptx::prefetch_map(q_map);
    ptx::prefetch_map(k_map);
    ptx::prefetch_map(v_map);
    ptx::mbarrier_init(&shared.item_there, 1);
    ptx::mbarrier_init(&shared.item_read, kReaders);
    ptx::mbarrier_init(&shared.q_there, 1);
    ptx::mbarrier_init(&shared.q_read, kReaders);
    ptx::mbarrier_init(&shared.tail, 1);
    for (int i = 0; i < C::kStages; ++i) {
      ptx::mbarrier_init(&shared.k_there[i], 1);
      ptx::mbarrier_init(&shared.v_there[i], 1);
      ptx::mbarrier_init(&shared.k_read[i], kReaders);
      ptx::mbarrier_init(&shared.v_read[i], kReaders);
    }
    ptx::fence_mbarrier_init();
  }
  __syncthreads();
  ptx::let_successors_begin();
  ptx::wait_for_predecessors();
  if (group == kGroups) {
    ptx::fewer_registers<kLoadRegisters>();
    if (thread % kGroup / 32 == 0) load_items<C>(p, q_map, k_map, v_map, counters, smem, shared);
  } else {
    ptx::more_registers<kMultiplyRegisters>();
    compute_items<T, C>(p, group, smem, shared);
  }
}

template <class T, class C>
cudaError_t run(const AttentionParams& p, std::uint32_t* counters, cudaStream_t stream) {
  constexpr auto* kKernel = flash_wgmma_kernel<T, C>;
  int blocks = 0;
  if (const cudaError_t code = resident_blocks<flash_wgmma_kernel<T, C>>(kThreads, C::kSmemBytes, blocks);
      code != cudaSuccess)
    return code;
  const auto head_dim = static_cast<cuuint64_t>(p.head_dim), row = 2 * head_dim;
  const auto kv_rows = static_cast<cuuint64_t>(std::int64_t{p.pages} * p.kv_heads * p.page_tokens);
  CUtensorMap q_map, k_map, v_map;
  if (const cudaError_t code =
          make_map<3>(q_map, p.type, p.q,
                      {.sizes = {head_dim, static_cast<cuuint64_t>(p.heads), static_cast<cuuint64_t>(p.tokens)},
                       .strides = {row, 2 * static_cast<cuuint64_t>(p.q_stride)},
                       .box = {kPiece, 1, kRows}});
      code != cudaSuccess)
    return code;
  const Tensor<2> tiles{.sizes = {head_dim, kv_rows},
                        .strides = {row},
                        .box = {kPiece, static_cast<cuuint32_t>(std::min(p.page_tokens, C::kKeys))}};
  if (const cudaError_t code = make_map<2>(k_map, p.type, p.k_pages, tiles); code != cudaSuccess) return code;
  if (const cudaError_t code = make_map<2>(v_map, p.type, p.v_pages, tiles); code != cudaSuccess) return code;
  const std::int64_t items = std::int64_t{p.heads} * p.seqs * ((p.max_q + kRows - 1) / kRows);
  const dim3 grid(static_cast<unsigned>(std::min<std::int64_t>(items, blocks)));
  return launch_allowed(kKernel, grid, kThreads, C::kSmemBytes, stream, q_map, k_map, v_map, counters, p);
}

template <class T>
cudaError_t run_of(const AttentionParams& p, std::uint32_t* counters, cudaStream_t stream) {
  if (p.head_dim <= 64) return run<T, Config<64, 128, 4>>(p, counters, stream);
  if (p.head_dim <= 128) return run<T, Config<128, 128, 2>>(p, counters, stream);
  return run<T, Config<256, 64, 2>>(p, counters, stream);
}

}  // namespace

cudaError_t attention_flash_wgmma(const AttentionParams& p, std::uint32_t* counters, cudaStream_t stream) {
  return p.type == DType::bf16 ? run_of<__nv_bfloat16>(p, counters, stream) : run_of<__half>(p, counters, stream);
}

}  // namespace rl::cuda
