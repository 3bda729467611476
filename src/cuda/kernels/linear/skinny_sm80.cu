// linear for 1 to 16 tokens: a stream over the weights with mma.sync.
//
// W is the mma's 16-row A operand, the tokens its 8 columns B. In a sum over k the order of k is free as long as A and
// B agree, so a lane takes 16 consecutive bytes of its row of W, and the same columns of its token's x, as its share of
// several mma: weights go from memory to the tensor cores in 16-byte loads, with no shared memory on the way.
//   - a block of 8 warps has 16 rows of W; warp w takes units w, w + 8, ... of the columns, and the 8 partial sums are
//     added in order at the end: an output's bits do not depend on the number of tokens
//   - a lane has up to 16 loads of 16 bytes under way (8 of codes) (this unit's successor is loaded before this unit is
//   used)
//   - the first unit is loaded before the kernel waits for its predecessor: weights depend on nobody
// Bytes: rows * cols * size(weight), once. Flops: 2 per weight and token, far below what the tensor cores do meanwhile.

#include "cuda/kernels/linear/epilogue.cuh"
#include "cuda/kernels/linear/fragments.cuh"

namespace rl::cuda {
namespace {

constexpr int kWarps = 8, kRows = 16;

template <class X, Mode kMode, int kTiles>
__global__ void __launch_bounds__(kWarps * 32, 2) skinny_kernel(LinearParams p) {
  using S = Shape<kMode>;
  using Sum = std::conditional_t<kMode == Mode::int8, int, float>;
  __shared__ Sum partial[kWarps][8 * kTiles][kRows + 1];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, group = lane / 4, member = lane % 4;
  const int row0 = static_cast<int>(blockIdx.x) * kRows;
  constexpr int kWeightBytes = S::kWide ? 2 : 1, kXBytes = S::kX8 ? 1 : 2;
  const char* w_row[2];
  bool has_row[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int row = row0 + group + 8 * r;
    has_row[r] = row < p.rows;
    w_row[r] =
        static_cast<const char*>(p.weight) + static_cast<std::int64_t>(min(row, p.rows - 1)) * p.cols * kWeightBytes;
  }
  const int units = (p.cols + S::kUnit - 1) / S::kUnit;

  uint4 next[S::kUnroll][2];
  const auto load = [&](int unit) {
#pragma unroll
    for (int c = 0; c < S::kUnroll; ++c) {
      const int k = unit * S::kUnit + c * S::kChunk + member * S::kLaneCols;
#pragma unroll
      for (int r = 0; r < 2; ++r)
        next[c][r] = has_row[r] && k < p.cols
                         ? ptx::load_streaming(w_row[r] + static_cast<std::int64_t>(k) * kWeightBytes)
                         : uint4{0, 0, 0, 0};
    }
  };
  if (warp < units) load(warp);
  ptx::wait_for_predecessors();
  ptx::let_successors_begin();

  Sum sum[kTiles][4] = {};
  for (int unit = warp; unit < units; unit += kWarps) {
    uint4 now[S::kUnroll][2];
#pragma unroll
    for (int c = 0; c < S::kUnroll; ++c) now[c][0] = next[c][0], now[c][1] = next[c][1];
    if (unit + kWarps < units) load(unit + kWarps);
    Sum part[kTiles][4] = {};
#pragma unroll
    for (int c = 0; c < S::kUnroll; ++c) {
      const int k = unit * S::kUnit + c * S::kChunk + member * S::kLaneCols;
      std::uint32_t a[2][2 * S::kSteps];
      expand_weight<X, kMode>(now[c][0], a[0]);
      expand_weight<X, kMode>(now[c][1], a[1]);
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile) {
        const int token = tile * 8 + group;
        std::uint32_t b[2 * S::kSteps] = {};
        if (token < p.tokens && k < p.cols) {
          const auto* x =
              reinterpret_cast<const uint4*>(static_cast<const char*>(p.x) + (token * p.x_stride + k) * kXBytes);
#pragma unroll
          for (int i = 0; i < S::kXLoads; ++i) {
            const uint4 v = x[i];
            if constexpr (kMode == Mode::fp8 || kMode == Mode::fp8_block) {
              expand_weight<X, kMode>(v, b);
            } else {
              b[4 * i] = v.x, b[4 * i + 1] = v.y, b[4 * i + 2] = v.z, b[4 * i + 3] = v.w;
            }
          }
        }
        Sum(&into)[4] = kMode == Mode::fp8_block ? part[tile] : sum[tile];
#pragma unroll
        for (int s = 0; s < S::kSteps; ++s)
          multiply<X, kMode>(into, a[0][2 * s], a[1][2 * s], a[0][2 * s + 1], a[1][2 * s + 1], b[2 * s], b[2 * s + 1]);
      }
      if constexpr (kMode == Mode::fp8_block) {
        static_assert(kScaleBlock == 2 * S::kChunk);
        if (c % 2 == 1) {
          const int block = (unit * S::kUnit + c * S::kChunk) / kScaleBlock, blocks = blocks_of(p.cols);
          if (block < blocks) {
            const float w_scale = p.w_scale[static_cast<std::int64_t>(row0 / kScaleBlock) * blocks + block];
#pragma unroll
            for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
              for (int j = 0; j < 2; ++j) {
                const int token = min(tile * 8 + 2 * member + j, p.tokens - 1);
                const float scale =
                    p.x_scale[static_cast<std::int64_t>(token) * blocks + block] * w_scale * (kHalfOfFp8 * kHalfOfFp8);
                sum[tile][j] += part[tile][j] * scale;
                sum[tile][2 + j] += part[tile][2 + j] * scale;
                part[tile][j] = part[tile][2 + j] = 0;
              }
          }
        }
      }
    }
  }

#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
    for (int i = 0; i < 4; ++i) partial[warp][tile * 8 + 2 * member + i % 2][group + 8 * (i / 2)] = sum[tile][i];
  __syncthreads();
  for (int i = threadIdx.x; i < 8 * kTiles * kRows; i += kWarps * 32) {
    const int token = i / kRows, row = row0 + i % kRows;
    if (token >= p.tokens || row >= p.rows) continue;
    Sum all = partial[0][token][i % kRows];
#pragma unroll
    for (int w = 1; w < kWarps; ++w) all += partial[w][token][i % kRows];
    if constexpr (kMode == Mode::fp8) all *= kHalfOfFp8 * kHalfOfFp8;
    finish(p, token, row, all);
  }
}

template <class X, Mode kMode>
cudaError_t run(const LinearParams& p, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>((p.rows + kRows - 1) / kRows));
  return p.tokens <= 8 ? launch(skinny_kernel<X, kMode, 1>, grid, kWarps * 32, 0, stream, p)
                       : launch(skinny_kernel<X, kMode, 2>, grid, kWarps * 32, 0, stream, p);
}

template <class X>
cudaError_t run16(const LinearParams& p, cudaStream_t stream) {
  switch (p.weight_type) {
    case DType::i8:
      return run<X, Mode::int8_wo>(p, stream);
    case DType::f8_e4m3:
      return run<X, Mode::fp8_wo>(p, stream);
    default:
      return run<X, Mode::same16>(p, stream);
  }
}

}  // namespace

cudaError_t linear_skinny(const LinearParams& p, cudaStream_t stream) {
  switch (p.x_type) {
    case DType::bf16:
      return run16<__nv_bfloat16>(p, stream);
    case DType::f16:
      return run16<__half>(p, stream);
    case DType::i8:
      return run<__half, Mode::int8>(p, stream);
    case DType::f8_e4m3:
      return p.blocked ? run<__half, Mode::fp8_block>(p, stream) : run<__half, Mode::fp8>(p, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace rl::cuda
