// linear for many tokens of int8 and of e4m3 in blocks: tiles of 128 or 256 tokens x 128 rows with wgmma.
//
//   - two blocks are a pair: they have the same tokens and neighbouring rows, and each loads half of x for both
//     (multicast), since what blocks read from L2 is the limit: 48 KB for 2^23 multiply-adds with 256 tokens
//   - a thread loads stages of 128 columns (TMA) into a ring, ahead of the tile at hand; two warpgroups multiply, each
//     half of the tokens, 64 at a time
//   - int8: sums stay in registers, a stage's products run while the next are asked for
//   - blocks of e4m3: a stage is a block of scales; its partial sums are scaled and added in fp32 while the other
//     warpgroup's products run
// Flops: 2 tokens rows cols.

#include <algorithm>

#include "cuda/kernels/common/element.cuh"
#include "cuda/kernels/common/launch_cluster.h"
#include "cuda/kernels/common/quad.cuh"
#include "cuda/kernels/common/resident.h"
#include "cuda/kernels/common/ring.cuh"
#include "cuda/kernels/common/tensor_map.h"
#include "cuda/kernels/linear/wgmma.h"
#include "cuda/ptx/cluster.h"
#include "cuda/ptx/tensor_copy.h"
#include "cuda/ptx/wgmma.h"

namespace rl::cuda {
namespace {

constexpr int kRows = 128, kCols = 128, kStep = 32;  // of a tile, of a stage, of a product; bytes are columns
constexpr int kPair = 2, kGroups = 2, kGroup = 128, kThreads = (1 + kGroups) * kGroup;
constexpr int kAlignment = 1024;  // of stages: the pattern in which boxes are swizzled repeats after that
constexpr int kLoadRegisters = 40, kMultiplyRegisters = 232;

// kHalves: of 64 tokens of a warpgroup.
template <int kHalves>
struct Config {
  static constexpr int kTokens = kGroups * kHalves * 64;
  static constexpr int kWeightBytes = kRows * kCols, kXBytes = kTokens * kCols, kStageBytes = kWeightBytes + kXBytes;
  static constexpr int kStages = (192 << 10) / kStageBytes;
  static constexpr int kSmemBytes = kAlignment + kStages * kStageBytes;
};

// The sums of 64 tokens from `token0` on: scaled unless blocked, as linear/epilogue.cuh has it.
template <class Sum>
__device__ inline void store_tokens(const LinearParams& p, const Sum (&sum)[64], int token0, int row0) {
  constexpr bool kScaled = std::is_same_v<Sum, int>;
  constexpr int kQuad = 4;  // of the 16 pairs of rows that a thread has, at once
  const int thread = ptx::thread_again(), lane = thread % 32;
#pragma unroll
  for (int half = 0; half < 2; ++half) {  // of a warp's 16 tokens
    const int token = token0 + thread % kGroup / 32 * 16 + 8 * half + lane / 4;
    const bool has_token = token < p.tokens;
    const float x_scale = kScaled ? p.x_scale[min(token, p.tokens - 1)] : 1.0f;
    const std::int64_t out = static_cast<std::int64_t>(token) * p.rows;
#pragma unroll
    for (int quad = 0; quad < 16; quad += kQuad) {
      const auto row_of = [&](int j) { return row0 + 8 * (quad + j) + 2 * (lane % 4); };
      const auto has = [&](int j) { return has_token && row_of(j) < p.rows; };
      float value[kQuad][2], before[kQuad][2] = {};
      if (p.accumulate) {
#pragma unroll
        for (int j = 0; j < kQuad; ++j)
          if (has(j)) {
            const auto old = vector_at<2>(static_cast<const float*>(p.out), out + row_of(j));
            before[j][0] = old.at[0], before[j][1] = old.at[1];
          }
      }
#pragma unroll
      for (int j = 0; j < kQuad; ++j)
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          const int row = min(row_of(j), p.rows - 2) + r;
          float v = static_cast<float>(sum[4 * (quad + j) + 2 * half + r]);
          if constexpr (kScaled) v = __fmul_rn(__fmul_rn(v, x_scale), p.w_scale[row]);
          if (p.bias != nullptr) v = __fadd_rn(v, p.bias[row]);
          if (p.accumulate) v = __fadd_rn(v, before[j][r]);
          value[j][r] = v;
        }
      if (p.out_type == DType::f32) {
#pragma unroll
        for (int j = 0; j < kQuad; ++j)
          if (has(j))
            vector_at<2>(static_cast<float*>(p.out), out + row_of(j)) = Vector<float, 2>{value[j][0], value[j][1]};
      } else {
        std::uint32_t word[kQuad];
#pragma unroll
        for (int j = 0; j < kQuad; ++j)
          word[j] = p.out_type == DType::bf16 ? pack_pair<__nv_bfloat16>(value[j][0], value[j][1])
                                              : pack_pair<__half>(value[j][0], value[j][1]);
        transpose_quad(word, lane);  // eight rows of a lane for two of each of four
        const int row = row0 + 8 * (quad + lane % 4);
        if (has_token && row < p.rows)
          *reinterpret_cast<uint4*>(static_cast<std::uint16_t*>(p.out) + out + row) = {word[0], word[1], word[2],
                                                                                       word[3]};
      }
    }
  }
}

template <bool kBlocked, int kHalves>
__global__ void __launch_bounds__(kThreads, 1)
    wgmma_kernel(const __grid_constant__ CUtensorMap w_map, const __grid_constant__ CUtensorMap x_map, LinearParams p) {
  using C = Config<kHalves>;
  using Sum = std::conditional_t<kBlocked, float, int>;
  extern __shared__ unsigned char unaligned[];
  __shared__ std::uint64_t there[C::kStages], read[C::kStages];
  const int thread = static_cast<int>(threadIdx.x), group = thread / kGroup, lane = thread % 32;
  const int rank = ptx::rank_in_cluster(), pairs = static_cast<int>(gridDim.x) / kPair;
  const int token_tiles = (p.tokens + C::kTokens - 1) / C::kTokens;
  const int tiles = token_tiles * ((p.rows + kPair * kRows - 1) / (kPair * kRows));  // of a pair
  const int steps = (p.cols + kCols - 1) / kCols;
  const std::uint32_t ring =
      ptx::smem_address(unaligned) + (-ptx::smem_address(unaligned) & static_cast<std::uint32_t>(kAlignment - 1));
  if (thread == 0) {
    for (int i = 0; i < C::kStages; ++i) {
      ptx::mbarrier_init(&there[i], 1);
      ptx::mbarrier_init(&read[i], kPair * kGroups * kGroup / 32);
    }
    ptx::fence_mbarrier_init();
  }
  ptx::cluster_arrive();
  ptx::cluster_wait();
  ptx::let_successors_begin();

  const auto token0_of = [&](int tile) { return tile % token_tiles * C::kTokens; };
  const auto row0_of = [&](int tile) { return (tile / token_tiles * kPair + rank) * kRows; };
  const int first_tile = static_cast<int>(blockIdx.x) / kPair;
  if (group == 0) {
    ptx::fewer_registers<kLoadRegisters>();
    if (thread == 0) {
      ptx::prefetch_map(w_map);
      ptx::prefetch_map(x_map);
      const auto load_weight = [&](int tile, int step, int slot) {
        ptx::mbarrier_expect(&there[slot], C::kStageBytes);
        ptx::copy_box(ring + slot * C::kStageBytes, w_map, &there[slot], step * kCols, row0_of(tile));
      };
      const auto load_x = [&](int tile, int step, int slot) {
        constexpr int kShare = C::kTokens / kPair;
        ptx::copy_box_to_pair(ring + slot * C::kStageBytes + C::kWeightBytes + rank * kShare * kCols, x_map,
                              &there[slot], step * kCols, token0_of(tile) + rank * kShare);
      };
      const int early = min(C::kStages, steps);  // of the first tile
      for (int step = 0; step < early; ++step) load_weight(first_tile, step, step);
      ptx::wait_for_predecessors();
      Turn turn{.parity = 1};
      for (int tile = first_tile; tile < tiles; tile += pairs)
        for (int step = 0; step < steps; ++step, turn.next(C::kStages)) {
          const bool is_early = tile == first_tile && step < early;
          ptx::mbarrier_wait(&read[turn.slot], turn.parity);
          if (!is_early) load_weight(tile, step, turn.slot);
          load_x(tile, step, turn.slot);
        }
    }
    __syncwarp();
    ptx::cluster_arrive();
    ptx::cluster_wait();  // nobody leaves whose memory another still writes to
    return;
  }

  ptx::more_registers<kMultiplyRegisters>();
  ptx::wait_for_predecessors();
  const int first_token = (group - 1) * kHalves * 64;                        // of the tile, of this warpgroup
  const int own_token = first_token + thread % kGroup / 32 * 16 + lane / 4;  // of this thread
  const auto release = [&](int slot) {
    if (lane < kPair) ptx::mbarrier_arrive_at(&read[slot], lane);
  };
  Sum sum[kHalves][64] = {};
  float part[64] = {};
  Turn turn;
  for (int tile = first_tile; tile < tiles; tile += pairs) {
    const int token0 = token0_of(tile), row0 = row0_of(tile);
    // Of a block of columns.
    float x_scale[kHalves][2], w_scale = 0;
    const auto load_scales = [&](int step) {
      const int w_block = min(row0, p.rows - 1) / kScaleBlock;
      w_scale = p.w_scale[static_cast<std::int64_t>(w_block) * steps + step];
#pragma unroll
      for (int h = 0; h < kHalves; ++h)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int token = min(token0 + own_token + 64 * h + 8 * i, p.tokens - 1);
          x_scale[h][i] = p.x_scale[static_cast<std::int64_t>(token) * steps + step];
        }
    };
    if constexpr (kBlocked) {
      load_scales(0);
#pragma unroll
      for (int h = 0; h < kHalves; ++h)
#pragma unroll
        for (int i = 0; i < 64; ++i) sum[h][i] = 0;
    }
    int last = 0;
    for (int step = 0; step < steps; ++step, turn.next(C::kStages)) {
      const std::uint64_t w = ptx::rows_of_128_bytes(ring + turn.slot * C::kStageBytes);
      const std::uint64_t x =
          ptx::rows_of_128_bytes(ring + turn.slot * C::kStageBytes + C::kWeightBytes + first_token * kCols);
      constexpr std::uint64_t kHalf = 64 * kCols / 16, kNext = kStep / 16;  // in a descriptor's unit
      ptx::mbarrier_wait(&there[turn.slot], turn.parity);
      if constexpr (kBlocked) {
        float scale[kHalves][2];
#pragma unroll
        for (int h = 0; h < kHalves; ++h)
#pragma unroll
          for (int i = 0; i < 2; ++i) scale[h][i] = x_scale[h][i] * w_scale;
        if (step + 1 < steps) load_scales(step + 1);
#pragma unroll
        for (int h = 0; h < kHalves; ++h) {
          ptx::here(part);
          ptx::wgmma_fence();
#pragma unroll
          for (int k = 0; k < kCols / kStep; ++k)
            ptx::wgmma_m64n128k32_e4m3(part, x + h * kHalf + k * kNext, w + k * kNext, k > 0);
          ptx::wgmma_commit();
          ptx::wgmma_wait<0>();
          ptx::here(part);
          if (h == kHalves - 1) release(turn.slot);
#pragma unroll
          for (int i = 0; i < 64; ++i) sum[h][i] += part[i] * scale[h][i / 2 % 2];
        }
      } else {
        ptx::wgmma_fence();
#pragma unroll
        for (int k = 0; k < kCols / kStep; ++k)
#pragma unroll
          for (int h = 0; h < kHalves; ++h)
            ptx::wgmma_m64n128k32_s8(sum[h], x + h * kHalf + k * kNext, w + k * kNext, step > 0 || k > 0);
        ptx::wgmma_commit();
        ptx::wgmma_wait<1>();
        if (step > 0) release(last);
        last = turn.slot;
      }
    }
    if constexpr (!kBlocked) {
      ptx::wgmma_wait<0>();
#pragma unroll
      for (int h = 0; h < kHalves; ++h) ptx::here(sum[h]);
      release(last);
    }
#pragma unroll
    for (int h = 0; h < kHalves; ++h) store_tokens(p, sum[h], token0 + first_token + 64 * h, row0);
  }
  ptx::cluster_arrive();
  ptx::cluster_wait();
}

template <bool kBlocked, int kHalves>
cudaError_t run(const LinearParams& p, cudaStream_t stream) {
  using C = Config<kHalves>;
  constexpr auto* kKernel = wgmma_kernel<kBlocked, kHalves>;
  int blocks = 0;
  if (const cudaError_t code = resident_blocks<wgmma_kernel<kBlocked, kHalves>>(kThreads, C::kSmemBytes, blocks);
      code != cudaSuccess)
    return code;
  const auto cols = static_cast<cuuint64_t>(p.cols), x_stride = static_cast<cuuint64_t>(p.x_stride);
  CUtensorMap w_map, x_map;
  if (const cudaError_t code =
          make_map<2>(w_map, p.weight_type, p.weight,
                      {.sizes = {cols, static_cast<cuuint64_t>(p.rows)}, .strides = {cols}, .box = {kCols, kRows}});
      code != cudaSuccess)
    return code;
  if (const cudaError_t code = make_map<2>(x_map, p.x_type, p.x,
                                           {.sizes = {cols, static_cast<cuuint64_t>(p.tokens)},
                                            .strides = {x_stride},
                                            .box = {kCols, C::kTokens / kPair}});
      code != cudaSuccess)
    return code;
  const int tiles = (p.tokens + C::kTokens - 1) / C::kTokens * ((p.rows + kPair * kRows - 1) / (kPair * kRows));
  const dim3 grid(static_cast<unsigned>(std::min(tiles, blocks / kPair) * kPair));
  return launch_cluster(kKernel, grid, kPair, kThreads, C::kSmemBytes, stream, w_map, x_map, p);
}

template <int kHalves>
cudaError_t run_type(const LinearParams& p, cudaStream_t stream) {
  if (p.x_type == DType::i8 && p.weight_type == DType::i8) return run<false, kHalves>(p, stream);
  if (p.x_type == DType::f8_e4m3 && p.weight_type == DType::f8_e4m3 && p.blocked) return run<true, kHalves>(p, stream);
  return cudaErrorInvalidValue;
}

}  // namespace

cudaError_t linear_wgmma(const LinearParams& p, WgmmaTokens tokens, cudaStream_t stream) {
  if (p.rows % 16 != 0) return cudaErrorInvalidValue;
  return tokens == WgmmaTokens::k256 ? run_type<2>(p, stream) : run_type<1>(p, stream);
}

}  // namespace rl::cuda
