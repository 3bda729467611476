// linear for up to 64 tokens: weights stream through shared memory once, and x as seldom as can be.
//
// Reading W is the limit (64 tokens: 64 flops a byte) as long as x stays small beside it. A block that has 16 rows of W
// reads as many bytes of x as of W where there are 16 tokens, and four times as many where there are 64. So:
//   - a block has a tile of up to 256 rows at once, whose sums are all in registers, and no other if the card is large
//     enough
//   - W and x come through rings of stages, each by a thread that does nothing else (TMA): W before the wait for the
//     predecessor, x after it
//   - what is asked for of W stands in line before x: until x is there no more than kEarlyBytes are under way
//   - warps that multiply wait for a stage's barriers alone, so that no two of them wait for each other; W is the mma's
//     A operand
//   - where a tile has few rows they share a stage's columns, 128 bytes each, and their partial sums meet in shared
//     memory
//   - codes of e4m3 become fp16 numbers in registers; in a sum over k the order of k is free as long as W and x agree
// Bytes: rows * cols * size(weight) once from memory, and x once for each tile from L2. An output's sum is in the order
// of its tile's shares of the columns, which the card's size decides.

#include <algorithm>

#include "cuda/kernels/common/launch.h"
#include "cuda/kernels/common/per_device.h"
#include "cuda/kernels/common/ring.cuh"
#include "cuda/kernels/common/tensor_map.h"
#include "cuda/kernels/linear/batch.h"
#include "cuda/kernels/linear/epilogue.cuh"
#include "cuda/kernels/linear/fragments.cuh"
#include "cuda/kernels/linear/fused.cuh"
#include "cuda/ptx/tensor_copy.h"

namespace rl::cuda {
namespace {

// Warps that multiply, one that loads W and one that loads x.
constexpr int kWarps = 8, kMultiplying = 32 * kWarps, kThreads = kMultiplying + 64;
constexpr int kRowBytes = kBatchSliceBytes;  // of a slice: the columns of a box
constexpr int kMostGroups = 2 * kWarps;      // of 16 rows, of a tile
constexpr int kMostStages = 16, kLeastStages = 3, kMostXStages = 4;
constexpr int kEarlyBytes = 64 << 10;  // measured on an H200
constexpr int kAlignment = 1024;       // of stages: the pattern in which boxes are swizzled repeats after that

// Numbers of 4 bytes between two rows of partial sums: a multiple of 8 that is not one of 32.
__host__ __device__ constexpr int sums_stride(int tokens) { return tokens + 8; }

// How a product is shared out.
struct Plan {
  int groups;    // of 16 rows, of a tile: up to two to each of row_warps() warps
  int slices;    // of a stage: the warps that have the same rows share its columns
  int stages;    // of the ring of W
  int x_stages;  // of that of x
  int sums_at;   // bytes: behind the rings or, where a block has one tile, in their place

  __host__ __device__ constexpr int row_warps() const { return kWarps / slices; }
  __host__ __device__ constexpr int slice_bytes() const { return groups * kFusedRows * kRowBytes; }  // of W
  __host__ __device__ constexpr int stage_bytes() const { return slices * slice_bytes(); }
  __host__ __device__ constexpr int x_stage_bytes(int tokens) const { return slices * tokens * kRowBytes; }
  __host__ __device__ constexpr int ring_bytes(int tokens) const {
    return stages * stage_bytes() + x_stages * x_stage_bytes(tokens);
  }
  // Partial sums of all who have some of the columns; of one alone they stay in registers.
  __host__ __device__ constexpr int sums_bytes(int tokens) const {
    return slices == 1 ? 0 : slices * groups * kFusedRows * sums_stride(tokens) * 4;
  }
};

// An output, or with kOutput other than plain a pair of them: rows `in_group` of both halves.
template <class T, Mode kMode, StreamOutput kOutput>
struct Output {
  using Sum = std::conditional_t<kMode == Mode::int8, int, float>;
  const StreamParams& p;
  int row[2];
  float bias[2] = {}, scale[2] = {1, 1};

  __device__ Output(const StreamParams& params, int group, int in_group) : p(params) {
    row[0] = row_of(p, kOutput, group, 0, in_group), row[1] = row_of(p, kOutput, group, 1, in_group);
    for (int half = 0; half < 2; ++half) {
      if (row[half] >= p.product.rows) continue;
      if (p.product.bias != nullptr) bias[half] = p.product.bias[row[half]];
      if constexpr (Shape<kMode>::kX8) scale[half] = p.product.w_scale[row[half]];
    }
  }
  // As epilogue.cuh has it.
  __device__ static float scaled(Sum sum, float x_scale, float w_scale) {
    if constexpr (Shape<kMode>::kX8)
      return __fmul_rn(__fmul_rn(static_cast<float>(sum), x_scale), w_scale);
    else
      return sum;
  }
  // Of kCount tokens from `token` on: what is read comes before what is written, so that latencies are one.
  template <int kCount>
  __device__ void store_pairs(const Place* places, int token, const float (&low)[kCount],
                              const float (&high)[kCount]) const {
    float c[kCount], s[kCount];
    if constexpr (kOutput == StreamOutput::rope) {
#pragma unroll
      for (int t = 0; t < kCount; ++t) {
        const std::int64_t angle = places[min(token + t, p.product.tokens - 1)].angles + row[0] % (p.rope.head_dim / 2);
        c[t] = p.rope.cos[angle], s[t] = p.rope.sin[angle];
      }
    }
#pragma unroll
    for (int t = 0; t < kCount; ++t) {
      if (token + t >= p.product.tokens) return;
      const bool biased = p.product.bias != nullptr;
      const T a = from_float<T>(biased ? __fadd_rn(low[t], bias[0]) : low[t]);
      const T b = from_float<T>(biased ? __fadd_rn(high[t], bias[1]) : high[t]);
      if constexpr (kOutput == StreamOutput::silu) {
        static_cast<T*>(p.product.out)[static_cast<std::int64_t>(token + t) * (p.product.rows / 2) + row[0]] =
            silu_times(a, b);
      } else {
        store_rope<T>(p, places[token + t], token + t, row[0], 0, to_float(a), to_float(b), c[t], s[t]);
        store_rope<T>(p, places[token + t], token + t, row[1], 1, to_float(b), to_float(a), c[t], s[t]);
      }
    }
  }
};

// kMode: same16, or with 8-bit codes of W and of x int8 or fp8.
template <class T, Mode kMode, int kTokens, StreamOutput kOutput>
__global__ void __launch_bounds__(kThreads, 1)
    batch_kernel(const __grid_constant__ CUtensorMap w_map, const __grid_constant__ CUtensorMap x_map, StreamParams p,
                 Plan plan) {
  using S = Shape<kMode>;
  using Out = Output<T, kMode, kOutput>;
  using Sum = typename Out::Sum;
  constexpr int kColumns = kTokens / 8;  // of the mma
  constexpr int kSliceCols = kRowBytes / 16 * S::kLaneCols;
  constexpr bool kPairs = kOutput != StreamOutput::plain;
  extern __shared__ unsigned char unaligned[];
  __shared__ std::uint64_t weights_there[kMostStages], weights_read[kMostStages];
  __shared__ std::uint64_t x_there[kMostXStages], x_read[kMostXStages];
  __shared__ Place places[kOutput == StreamOutput::rope ? kTokens : 1];
  __shared__ float x_scales[S::kX8 ? kTokens : 1];
  const LinearParams& product = p.product;
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  const int first_tile = static_cast<int>(blockIdx.x), blocks = static_cast<int>(gridDim.x);
  const int all_groups = (product.rows + kFusedRows - 1) / kFusedRows;
  const int tiles = (all_groups + plan.groups - 1) / plan.groups;
  const int slices = plan.slices, steps = (product.cols / kSliceCols + slices - 1) / slices;
  unsigned char* const smem = unaligned + (-ptx::smem_address(unaligned) & (kAlignment - 1));
  const int stage = plan.stage_bytes(), x_stage = plan.x_stage_bytes(kTokens);
  const std::uint32_t ring = ptx::smem_address(smem), x_ring = ring + plan.stages * stage;
  if (thread == 0) {
    for (int i = 0; i < plan.stages; ++i) {
      ptx::mbarrier_init(&weights_there[i], 1);
      ptx::mbarrier_init(&weights_read[i], kWarps);
    }
    for (int i = 0; i < plan.x_stages; ++i) {
      ptx::mbarrier_init(&x_there[i], 1);
      ptx::mbarrier_init(&x_read[i], kWarps);
    }
    ptx::fence_mbarrier_init();
  }
  __syncthreads();

  if (warp == kWarps) {
    if (lane != 0) return;
    ptx::prefetch_map(w_map);
    const int early = max(kEarlyBytes / stage, 1);
    Turn turn{.parity = 1};
    for (int tile = first_tile; tile < tiles; tile += blocks) {
      const int group = tile * plan.groups;
      for (int step = 0; step < steps; ++step, turn.next(plan.stages)) {
        const std::uint32_t to = ring + turn.slot * stage;
        std::uint64_t* const there = &weights_there[turn.slot];
        ptx::mbarrier_wait(&weights_read[turn.slot], turn.parity);
        if (tile == first_tile && step >= early && step < plan.stages)
          while (!ptx::mbarrier_is_complete(&weights_there[step - early], 0) &&
                 !ptx::mbarrier_is_complete(&x_there[0], 0))
            __nanosleep(50);  // beside a predecessor that is still at work
        ptx::mbarrier_expect(there, stage);
        if constexpr (kOutput == StreamOutput::rope) {
          const int of_head = p.rope.head_dim / kFusedRows;
          for (int g = 0, head = group / of_head, in_head = group % of_head; g < plan.groups; ++g) {
            ptx::copy_box(to + g * slices * kFusedRows * kRowBytes, w_map, there, 0, in_head * 8, step * slices, 0,
                          head);
            if (++in_head == of_head) in_head = 0, ++head;
          }
        } else {
          ptx::copy_box(to, w_map, there, 0, group * (kPairs ? 8 : kFusedRows), step * slices, 0, 0);
        }
      }
    }
    return;
  }
  if (warp > kWarps) {
    if (lane != 0) return;
    ptx::prefetch_map(x_map);
    ptx::wait_for_predecessors();
    ptx::let_successors_begin();
    Turn turn{.parity = 1};
    for (int tile = first_tile; tile < tiles; tile += blocks)
      for (int step = 0; step < steps; ++step, turn.next(plan.x_stages)) {
        ptx::mbarrier_wait(&x_read[turn.slot], turn.parity);
        ptx::mbarrier_expect(&x_there[turn.slot], x_stage);
        ptx::copy_box(x_ring + turn.slot * x_stage, x_map, &x_there[turn.slot], 0, 0, step * slices);
      }
    return;
  }

  if constexpr (kOutput == StreamOutput::rope)
    if (thread < product.tokens) places[thread] = place_of(p.rope, thread);
  auto* const sums = reinterpret_cast<Sum*>(smem + plan.sums_at);
  const int row_warps = plan.row_warps(), row_warp = warp % row_warps, slice_of_warp = warp / row_warps;
  const int own_groups = (row_warp < plan.groups) + (row_warp + row_warps < plan.groups);
  constexpr int kStride = sums_stride(kTokens);
  // Where a lane's row lies in a stage, from which a group is `group_bytes` away. A box is [halves][slices][rows], as
  // its map has it; with RoPE each group has a box of its own.
  int at = slice_of_warp * plan.slice_bytes() + (row_warp * kFusedRows + lane % 16) * kRowBytes;
  int group_bytes = row_warps * kFusedRows * kRowBytes;
  if constexpr (kOutput == StreamOutput::silu) {
    at = (lane / 8 % 2 * slices + slice_of_warp) * (plan.slice_bytes() / 2) + (row_warp * 8 + lane % 8) * kRowBytes;
    group_bytes /= 2;
  } else if constexpr (kOutput == StreamOutput::rope) {
    at = row_warp * slices * kFusedRows * kRowBytes +
         ((lane / 8 % 2 * slices + slice_of_warp) * 8 + lane % 8) * kRowBytes;
    group_bytes *= slices;
  }
  const int x_at = (slice_of_warp * kTokens + lane % 8 + lane / 16 * 8) * kRowBytes;
  // Four tokens of a row, or of a pair, are an item of a thread, which adds up their sums.
  constexpr int kItemRows = kPairs ? 8 : kFusedRows, kQuads = kTokens / 4;
  const int items = plan.groups * kItemRows * kQuads;
  const auto first_token_of = [](int item) { return item / kItemRows % kQuads * 4; };

  Turn turn, x_turn;
  for (int tile = first_tile; tile < tiles; tile += blocks) {
    // What the first items are added to: asked for before it is needed.
    constexpr int kAhead = kPairs ? 0 : 2;
    float before[kAhead + 1][4] = {};
    const auto load_before = [&](int i) {
      const int item = thread + i * kMultiplying, group = tile * plan.groups + item / (kItemRows * kQuads);
      const int row = group * kFusedRows + item % kItemRows, token = first_token_of(item);
      const bool has_row = item < items && row < product.rows;
#pragma unroll
      for (int t = 0; t < 4; ++t)
        before[i][t] = has_row && token + t < product.tokens ? addends_of(product, token + t, row).before : 0.0f;
    };

    Sum sum[2][kColumns][4] = {};
    const auto multiply_steps = [&]<int kGroups>() {
      for (int step = 0; step < steps; ++step, turn.next(plan.stages), x_turn.next(plan.x_stages)) {
        const std::uint32_t w = ring + turn.slot * stage + at, x = x_ring + x_turn.slot * x_stage + x_at;
        ptx::mbarrier_wait(&weights_there[turn.slot], turn.parity);
        ptx::mbarrier_wait(&x_there[x_turn.slot], x_turn.parity);
#pragma unroll
        for (int k = 0; k < kRowBytes / 32; ++k) {
          std::uint32_t a[kGroups][4], b[kTokens / 16][4];
#pragma unroll
          for (int g = 0; g < kGroups; ++g)
            ptx::ldmatrix_x4(a[g], w + g * group_bytes + ((2 * k + lane / 16) ^ (lane % 8)) * 16);
#pragma unroll
          for (int n = 0; n < kTokens / 16; ++n)
            ptx::ldmatrix_x4(b[n], x + n * 16 * kRowBytes + ((2 * k + lane / 8 % 2) ^ (lane % 8)) * 16);
          if constexpr (kMode == Mode::fp8) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {  // of 32 columns
              std::uint32_t wide[kGroups][4];
#pragma unroll
              for (int g = 0; g < kGroups; ++g)
#pragma unroll
                for (int i = 0; i < 2; ++i) fp8_to_half(a[g][2 * half + i], wide[g][i], wide[g][i + 2]);
#pragma unroll
              for (int n = 0; n < kColumns; ++n) {
                std::uint32_t low, high;
                fp8_to_half(b[n / 2][n % 2 * 2 + half], low, high);
#pragma unroll
                for (int g = 0; g < kGroups; ++g)
                  multiply<T, kMode>(sum[g][n], wide[g][0], wide[g][1], wide[g][2], wide[g][3], low, high);
              }
            }
          } else {
#pragma unroll
            for (int n = 0; n < kColumns; ++n)
#pragma unroll
              for (int g = 0; g < kGroups; ++g)
                multiply<T, kMode>(sum[g][n], a[g][0], a[g][1], a[g][2], a[g][3], b[n / 2][n % 2 * 2],
                                   b[n / 2][n % 2 * 2 + 1]);
          }
        }
        __syncwarp();
        if (lane == 0) {
          ptx::mbarrier_arrive(&weights_read[turn.slot]);
          ptx::mbarrier_arrive(&x_read[x_turn.slot]);
        }
      }
    };
    const bool ahead = kAhead > 0 && product.accumulate && product.bias == nullptr && slices > 1;
    if (ahead) {
      if (tile == first_tile) {
        ptx::mbarrier_wait(&x_there[0], 0);
        ptx::wait_for_predecessors();
      }
#pragma unroll
      for (int i = 0; i < kAhead; ++i) load_before(i);
    }
    if (own_groups == 2)
      multiply_steps.template operator()<2>();
    else
      multiply_steps.template operator()<1>();  // a warp without any: of what there is, and not kept
    ptx::wait_for_predecessors();  // have ended, since x is there: what they wrote is visible to this thread as well
    if constexpr (S::kX8)
      if (thread < product.tokens) x_scales[thread] = product.x_scale[thread];
    const auto x_scale = [&](int token) { return S::kX8 ? x_scales[token] : 1.0f; };

    if (slices == 1) {
      // Of `places` and `x_scales`.
      if constexpr (kOutput == StreamOutput::rope || S::kX8) ptx::barrier<1>(kMultiplying);
      const auto store_all = [&]<class OutType>() {
#pragma unroll
        for (int g = 0; g < 2; ++g) {
          const int group = tile * plan.groups + row_warp + g * row_warps;
          if (g >= own_groups || group >= all_groups) break;
          const Out output(p, group, lane / 4);
#pragma unroll
          for (int n = 0; n < kColumns; ++n) {
            const int token = 8 * n + 2 * (lane % 4);
            float of[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) of[i] = Out::scaled(sum[g][n][i], x_scale(token + i % 2), output.scale[i / 2]);
            if constexpr (kPairs) {
              output.template store_pairs<2>(places, token, {of[0], of[1]}, {of[2], of[3]});
            } else {
#pragma unroll
              for (int i = 0; i < 4; ++i) {
                const int half = i / 2, row = output.row[half];
                if (token + i % 2 >= product.tokens || row >= product.rows) continue;
                Addends addends{.bias = output.bias[half], .before = 0};
                if (product.accumulate) addends.before = addends_of(product, token + i % 2, row).before;
                store<OutType>(product, token + i % 2, row, of[i], addends);
              }
            }
          }
        }
      };
      if (kPairs || product.out_type == DType::f32)
        store_all.template operator()<float>();
      else
        store_all.template operator()<T>();
      continue;
    }

    if (plan.sums_at == 0) ptx::barrier<1>(kMultiplying);  // everybody is done with what lies there
#pragma unroll
    for (int g = 0; g < 2; ++g) {
      if (g >= own_groups) break;
      const int group = slice_of_warp * plan.groups + row_warp + g * row_warps;
      Sum* const to = sums + (group * kFusedRows + lane / 4) * kStride + 2 * (lane % 4);
#pragma unroll
      for (int n = 0; n < kColumns; ++n)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          *reinterpret_cast<Vector<Sum, 2>*>(to + 8 * half * kStride + 8 * n) = {sum[g][n][2 * half],
                                                                                 sum[g][n][2 * half + 1]};
    }
    ptx::barrier<1>(kMultiplying);  // also of `places` and `x_scales`

    // The scaled sums of four tokens.
    const auto add_up = [&](int item, int in_group, float w_scale, float(&value)[4]) {
      const int own = item / (kItemRows * kQuads), token0 = first_token_of(item);
      const Sum* const from = sums + (own * kFusedRows + in_group) * kStride + token0;
      auto all = *reinterpret_cast<const Vector<Sum, 4>*>(from);
#pragma unroll 4
      for (int i = 1; i < slices; ++i) {
        const auto v = *reinterpret_cast<const Vector<Sum, 4>*>(from + i * plan.groups * kFusedRows * kStride);
#pragma unroll
        for (int t = 0; t < 4; ++t) all.at[t] += v.at[t];
      }
#pragma unroll
      for (int t = 0; t < 4; ++t) value[t] = Out::scaled(all.at[t], x_scale(token0 + t), w_scale);
    };
    // kKnown: what it is added to has been loaded.
    const auto finish_item = [&]<bool kKnown>(int item, const float(&old)[4]) {
      const int group = tile * plan.groups + item / (kItemRows * kQuads), token0 = first_token_of(item);
      if (group >= all_groups || token0 >= product.tokens) return;
      const int in_group = item % kItemRows;
      float value[4];
      if constexpr (kPairs) {
        const Out output(p, group, in_group);
        float high[4];
        add_up(item, in_group, output.scale[0], value);
        add_up(item, in_group + 8, output.scale[1], high);
        output.template store_pairs<4>(places, token0, value, high);
      } else {
        const int row = group * kFusedRows + in_group;
        if (row >= product.rows) return;
        add_up(item, in_group, S::kX8 ? product.w_scale[row] : 1.0f, value);
#pragma unroll
        for (int t = 0; t < 4; ++t) {
          if (token0 + t >= product.tokens) continue;
          Addends addends{.bias = 0, .before = old[t]};
          if constexpr (!kKnown) addends = addends_of(product, token0 + t, row);
          store(product, token0 + t, row, value[t], addends);
        }
      }
    };
    int item = thread;
    if (ahead) {
#pragma unroll
      for (int i = 0; i < kAhead; ++i, item += kMultiplying)
        if (item < items) finish_item.template operator()<true>(item, before[i]);
    }
    for (; item < items; item += kMultiplying) finish_item.template operator()<false>(item, before[kAhead]);
    if (tile + blocks < tiles) ptx::barrier<1>(kMultiplying);  // read, before the next tile's are written
  }
}

// What a device has room for.
struct Facts {
  int smem_bytes = 0;  // of a block, dynamic
  int blocks = 0;      // that run at once
};
constexpr int kStaticBytes = 3 << 10;  // shared memory that the kernels have beside it, at most

// Of the current device; asked once, when the kernel is allowed that much. Errors: those of the runtime's queries;
// cudaErrorNoKernelImageForDevice for a kernel translated from code of before 9.0.
template <auto kKernel>
cudaError_t facts_of(Facts& facts) {
  static PerDevice<Facts> known;
  return known.get(facts, [](int device, Facts& asked) {
    cudaFuncAttributes attributes{};
    if (const cudaError_t code = cudaFuncGetAttributes(&attributes, kKernel); code != cudaSuccess) return code;
    if (attributes.ptxVersion < 90) return cudaErrorNoKernelImageForDevice;
    if (const cudaError_t code =
            cudaDeviceGetAttribute(&asked.smem_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
        code != cudaSuccess)
      return code;
    if (const cudaError_t code = cudaDeviceGetAttribute(&asked.blocks, cudaDevAttrMultiProcessorCount, device);
        code != cudaSuccess)
      return code;
    asked.smem_bytes -= kStaticBytes;
    return cudaFuncSetAttribute(kKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, asked.smem_bytes);
  });
}

// As few tiles a block as its warps can take, as equal ones as can be, and as few warps to a row's columns as there is
// room for: two groups of a warp are multiplied by what it reads of x once.
Plan plan_of(const Facts& facts, int tokens, int rows) {
  const int all_groups = (rows + kFusedRows - 1) / kFusedRows;
  const int share = (all_groups + facts.blocks - 1) / facts.blocks;  // groups of the busiest block
  for (int groups = std::min(share, kMostGroups); groups > 0; --groups) {
    const int tiles = (share + groups - 1) / groups;
    groups = (share + tiles - 1) / tiles;
    for (int slices = kWarps; slices > 0; slices /= 2) {
      Plan plan{.groups = groups, .slices = slices, .stages = 0, .x_stages = kMostXStages, .sums_at = 0};
      if (2 * plan.row_warps() < groups) continue;
      // x comes from L2: of large stages of it fewer are under way.
      const int x_stage = plan.x_stage_bytes(tokens);
      if (x_stage >= 64 << 10)
        plan.x_stages = 2;
      else if (x_stage >= 32 << 10)
        plan.x_stages = 3;
      const int sums = plan.sums_bytes(tokens);
      const int room = facts.smem_bytes - kAlignment - plan.ring_bytes(tokens) - (tiles > 1 ? sums : 0);
      plan.stages = std::min(room / plan.stage_bytes(), kMostStages);
      if (plan.stages < kLeastStages || (tiles == 1 && sums > plan.ring_bytes(tokens))) continue;
      if (tiles > 1) plan.sums_at = plan.ring_bytes(tokens);
      return plan;
    }
  }
  return {};
}

// W as [heads][halves][slices][rows of a half][columns of a slice], and as its box the rows of a stage, or with RoPE
// those of a group.
cudaError_t map_weight(CUtensorMap& map, const StreamParams& p, const Plan& plan) {
  const auto element = static_cast<cuuint64_t>(size_of(p.product.weight_type));
  const auto cols = static_cast<cuuint64_t>(p.product.cols), rows = static_cast<cuuint64_t>(p.product.rows);
  const cuuint64_t slice = kRowBytes / element, row_bytes = cols * element;
  cuuint64_t in_half = rows, halves = 1, heads = 1;
  cuuint32_t box_rows = static_cast<cuuint32_t>(plan.groups * kFusedRows), box_halves = 1;
  if (p.output == StreamOutput::silu) {
    in_half = rows / 2, halves = 2;
    box_rows = static_cast<cuuint32_t>(plan.groups * 8), box_halves = 2;
  } else if (p.output == StreamOutput::rope) {
    in_half = static_cast<cuuint64_t>(p.rope.head_dim / 2), halves = 2, heads = rows / (2 * in_half);
    box_rows = 8, box_halves = 2;
  }
  return make_map<5>(
      map, p.product.weight_type, p.product.weight,
      {.sizes = {slice, in_half, cols / slice, halves, heads},
       .strides = {row_bytes, kRowBytes, row_bytes * in_half, row_bytes * in_half * halves},
       .box = {static_cast<cuuint32_t>(slice), box_rows, static_cast<cuuint32_t>(plan.slices), box_halves, 1}});
}

cudaError_t map_x(CUtensorMap& map, const StreamParams& p, int tokens, const Plan& plan) {
  const auto element = static_cast<cuuint64_t>(size_of(p.product.x_type));
  const cuuint64_t slice = kRowBytes / element;
  return make_map<3>(
      map, p.product.x_type, p.product.x,
      {.sizes = {slice, static_cast<cuuint64_t>(p.product.tokens), static_cast<cuuint64_t>(p.product.cols) / slice},
       .strides = {static_cast<cuuint64_t>(p.product.x_stride) * element, kRowBytes},
       .box = {static_cast<cuuint32_t>(slice), static_cast<cuuint32_t>(tokens), static_cast<cuuint32_t>(plan.slices)}});
}

template <class T, Mode kMode, int kTokens, StreamOutput kOutput>
cudaError_t run(const StreamParams& p, cudaStream_t stream) {
  constexpr auto* kKernel = batch_kernel<T, kMode, kTokens, kOutput>;
  Facts facts;
  if (const cudaError_t code = facts_of<batch_kernel<T, kMode, kTokens, kOutput>>(facts); code != cudaSuccess)
    return code;
  const Plan plan = plan_of(facts, kTokens, p.product.rows);
  if (plan.groups == 0) return cudaErrorInvalidConfiguration;  // of a device with less than 48 KiB
  CUtensorMap w_map, x_map;
  if (const cudaError_t code = map_weight(w_map, p, plan); code != cudaSuccess) return code;
  if (const cudaError_t code = map_x(x_map, p, kTokens, plan); code != cudaSuccess) return code;
  const int tiles = (p.product.rows + plan.groups * kFusedRows - 1) / (plan.groups * kFusedRows);
  const dim3 grid(static_cast<unsigned>(std::min(tiles, facts.blocks)));
  const int smem = kAlignment + plan.ring_bytes(kTokens) + (plan.sums_at > 0 ? plan.sums_bytes(kTokens) : 0);
  return launch_allowed(kKernel, grid, kThreads, static_cast<std::size_t>(smem), stream, w_map, x_map, p, plan);
}

template <class T, Mode kMode, int kTokens>
cudaError_t run_output(const StreamParams& p, cudaStream_t stream) {
  switch (p.output) {
    case StreamOutput::silu:
      return run<T, kMode, kTokens, StreamOutput::silu>(p, stream);
    case StreamOutput::rope:
      return run<T, kMode, kTokens, StreamOutput::rope>(p, stream);
    default:
      return run<T, kMode, kTokens, StreamOutput::plain>(p, stream);
  }
}

template <class T, Mode kMode>
cudaError_t run_tokens(const StreamParams& p, cudaStream_t stream) {
  if (p.product.tokens <= 16) return run_output<T, kMode, 16>(p, stream);
  if (p.product.tokens <= kBatchFewTokens) return run_output<T, kMode, kBatchFewTokens>(p, stream);
  if constexpr (kMode != Mode::fp8) return run<T, kMode, kBatchTokens, StreamOutput::plain>(p, stream);
  return cudaErrorInvalidValue;
}

template <class T>
cudaError_t run_type(const StreamParams& p, cudaStream_t stream) {
  switch (p.product.weight_type) {
    case DType::i8:
      return run_tokens<T, Mode::int8>(p, stream);
    case DType::f8_e4m3:
      return run_tokens<T, Mode::fp8>(p, stream);
    default:
      return p.product.weight_type == p.type ? run_tokens<T, Mode::same16>(p, stream) : cudaErrorInvalidValue;
  }
}

}  // namespace

cudaError_t linear_batch(const StreamParams& p, cudaStream_t stream) {
  const int most = batch_tokens(p.product.weight_type, p.output == StreamOutput::plain);
  const int slice = kRowBytes / size_of(p.product.weight_type);
  if (p.input != StreamInput::ready || p.product.tokens > most || p.product.cols % slice != 0 ||
      p.product.x_type != p.product.weight_type)
    return cudaErrorInvalidValue;
  switch (p.type) {
    case DType::bf16:
      return run_type<__nv_bfloat16>(p, stream);
    case DType::f16:
      return run_type<__half>(p, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace rl::cuda
