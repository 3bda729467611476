// linear for 1 to 8 tokens: blocks that stay, one to a multiprocessor, and never stop reading weights.
//
// As in skinny_sm80.cu a lane's 16 bytes of W are its share of several mma, and 8 warps share the columns of 16 rows.
// What differs:
//   - a lane's bytes wait in shared memory, in a ring that it alone writes (cp.async) and reads: no barrier, no bank
//     conflict, and several stages of a warp under way instead of what registers hold
//   - a block takes tile after tile of 16 rows; the next one's weights are on their way while this one's sums are added
//   - the ring is filled before the wait for the predecessor, since weights depend on nobody: memory works through the
//     tail of the kernel before this one
//   - with helpers the ring is filled at the rate at which memory answers: what is asked for beyond that would stand in
//     line before what the predecessor and the helpers read
//   - x is put into shared memory once, as operands of the mma: normalised, quantised or just copied
//   - a tile's rows may be two times 8, whose results meet in one warp: gate and up, or the pairs of a rotary embedding
// Bytes: rows * cols * size(weight), once. By Little's law 4.8 TB/s at 0.9 us need 33 KiB under way in each of 132
// multiprocessors; on an H200 96 KiB reached 94% of the read rate, 160 KiB 96% (docs/performance.md).

#include <algorithm>

#include "cuda/kernels/common/per_device.h"
#include "cuda/kernels/common/quantize.cuh"
#include "cuda/kernels/linear/epilogue.cuh"
#include "cuda/kernels/linear/fragments.cuh"
#include "cuda/kernels/linear/fused.cuh"
#include "cuda/kernels/linear/quantize.cuh"
#include "cuda/kernels/linear/stream.h"
#include "cuda/kernels/rows/row_math.cuh"

namespace rl::cuda {
namespace {

static_assert(kStreamNormCols == kNormHeldCols);
constexpr int kWarps = kStreamWarps, kRows = kFusedRows;  // of a tile

template <Mode kMode>
struct Config {
  using S = Shape<kMode>;
#ifdef __CUDA_ARCH__
  static constexpr StreamConfig k = stream_config(__CUDA_ARCH__ / 10, S::kWide);
#else
  static constexpr StreamConfig k = stream_config(0, S::kWide);
#endif
  static constexpr int kGroups = k.groups, kThreads = 32 * kWarps * kGroups;  // those that multiply
  static constexpr int kHelpers = 32 * k.helpers;                             // threads
  static constexpr int kChunks = k.chunks, kStages = k.stages, kEarlyStages = k.early;
  static constexpr int kStageBytes = 1024 * kChunks;  // of a warp
  static constexpr int kStageCols = kChunks * S::kChunk, kStagesOfUnit = S::kUnroll / kChunks;
  static_assert(S::kUnroll % kChunks == 0);
};

// The stream of a warp over its tiles: which stage is to be loaded next.
template <Mode kMode>
struct Ahead {
  using S = Shape<kMode>;
  using C = Config<kMode>;
  static constexpr int kWeightBytes = S::kWide ? 2 : 1;
  const StreamParams& p;
  int tile, col, stage = 0;
  bool more;
  const char* row[2];

  __device__ Ahead(const StreamParams& params, int first_tile, int tiles, int warp)
      : p(params), tile(first_tile), col(warp * S::kUnit), more(tile < tiles && col < params.product.cols) {
    if (more) find_rows();
  }
  __device__ void find_rows() {
    const int group = threadIdx.x % 32 / 4;
#pragma unroll
    for (int half = 0; half < 2; ++half)
      row[half] = static_cast<const char*>(p.product.weight) +
                  static_cast<std::int64_t>(min(row_of(p, p.output, tile, half, group), p.product.rows - 1)) *
                      p.product.cols * kWeightBytes;
  }
  // Starts the loads of a stage into the lane's slot, and commits a group in any case.
  __device__ void load(std::uint32_t slot, int tiles) {
    if (more) {
      const int member = threadIdx.x % 4;
#pragma unroll
      for (int c = 0; c < C::kChunks; ++c) {
        const int k = col + c * S::kChunk + member * S::kLaneCols;
#pragma unroll
        for (int half = 0; half < 2; ++half)
          ptx::cp_async_16_streaming(slot + (2 * c + half) * 512,
                                     row[half] + static_cast<std::int64_t>(k) * kWeightBytes, k < p.product.cols);
      }
      next(tiles);
    }
    ptx::cp_async_commit();
  }
  __device__ void next(int tiles) {
    col += C::kStageCols;
    if (++stage < C::kStagesOfUnit) return;
    stage = 0;
    col += (kWarps - 1) * S::kUnit;
    if (col < p.product.cols) return;
    col = static_cast<int>(threadIdx.x) / 32 % kWarps * S::kUnit;
    tile += static_cast<int>(gridDim.x) * C::kGroups;
    more = tile < tiles;
    if (more) find_rows();
  }
};

// The threads that prepare x: the helpers or, without them, those that multiply.
template <Mode kMode>
struct Preparing {
  static constexpr int kFirst = Config<kMode>::kHelpers > 0 ? Config<kMode>::kThreads : 0;
  static constexpr int kThreads = kFirst > 0 ? Config<kMode>::kHelpers : Config<kMode>::kThreads;
  __device__ static int thread() { return static_cast<int>(threadIdx.x) - kFirst; }
  __device__ static void barrier() { ptx::barrier<3>(kThreads); }
};

// Four codes as x's operands in shared memory.
template <Mode kMode>
__device__ inline void store_operands(unsigned char* row, int col, std::uint32_t codes) {
  if constexpr (kMode == Mode::int8) {
    *reinterpret_cast<std::uint32_t*>(row + col) = codes;
  } else {
    uint2 wide;
    fp8_to_half(codes, wide.x, wide.y);
    *reinterpret_cast<uint2*>(row + 2 * col) = wide;
  }
}

// The three ways to x call `fill` when they have asked for its first bytes: what it asks for comes after them.

// x as it is. Several pieces of 16 bytes at once, so that their latencies are one.
template <Mode kMode, class Fill>
__device__ inline void copy_input(const LinearParams& p, unsigned char* xs, int x_bytes, float* x_scale, Fill&& fill) {
  using P = Preparing<kMode>;
  constexpr int kThreads = P::kThreads, kPieces = std::max(8, 2048 / kThreads);
  constexpr int kElements = Shape<kMode>::kX8 ? 16 : 8;  // of a piece
  if constexpr (Shape<kMode>::kX8) {
    if (P::thread() < p.tokens) x_scale[P::thread()] = p.x_scale[P::thread()];
  }
  const int pieces = p.cols / kElements;
  for (int token = 0; token < p.tokens; ++token) {
    const auto* const from =
        reinterpret_cast<const uint4*>(static_cast<const char*>(p.x) + token * p.x_stride * (16 / kElements));
    unsigned char* const to = xs + token * x_bytes;
    for (int first = P::thread(); first < pieces; first += kPieces * kThreads) {
      uint4 piece[kPieces];
#pragma unroll
      for (int i = 0; i < kPieces; ++i)
        if (first + i * kThreads < pieces) piece[i] = from[first + i * kThreads];
      fill();
#pragma unroll
      for (int i = 0; i < kPieces; ++i) {
        const int at = first + i * kThreads;
        if (at >= pieces) break;
        if constexpr (kMode == Mode::fp8) {
          const std::uint32_t words[4] = {piece[i].x, piece[i].y, piece[i].z, piece[i].w};
#pragma unroll
          for (int j = 0; j < 4; ++j) store_operands<kMode>(to, at * 16 + j * 4, words[j]);
        } else {
          *reinterpret_cast<uint4*>(to + at * 16) = piece[i];
        }
      }
    }
  }
}

// x of 16-bit numbers, as codes.
template <class T, Mode kMode, class Fill>
__device__ inline void quantize_input(const LinearParams& p, unsigned char* xs, int x_bytes, float* x_scale,
                                      Fill&& fill) {
  using Codes = std::conditional_t<kMode == Mode::int8, Int8Codes, Fp8Codes>;
  using P = Preparing<kMode>;
  constexpr int kThreads = P::kThreads, kN = 8, kPieces = kStreamQuantizeCols / (kN * kThreads);
  __shared__ std::uint32_t shared[kThreads / 32];
  for (int token = 0; token < p.tokens; ++token) {
    const T* const x = static_cast<const T*>(p.x) + token * p.x_stride;
    Pieces<T, kN, kPieces> piece;
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
      const int at = (i * kThreads + P::thread()) * kN;
      if (at < p.cols) piece[i] = vector_at<kN>(x, at);
    }
    fill();
    const float scale =
        scale_of<Codes>(block_max<kThreads>(largest_of<kThreads, T, kN, kPieces>(piece, p.cols), shared));
    if (P::thread() == 0) x_scale[token] = scale;
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
      const int at = (i * kThreads + P::thread()) * kN;
      if (at >= p.cols) continue;
      Vector<typename Codes::Code, kN> codes;
#pragma unroll
      for (int j = 0; j < kN; ++j) codes.at[j] = Codes::code(to_float(piece[i].at[j]), scale);
      const uint2 words = *reinterpret_cast<const uint2*>(&codes);
      store_operands<kMode>(xs + token * x_bytes, at, words.x);
      store_operands<kMode>(xs + token * x_bytes, at + 4, words.y);
    }
    P::barrier();  // before `shared` is written again
  }
}

// The norm of rows, each thread in the place of one or more of rms_norm_kernel's.
template <class T, Mode kMode>
struct Norm {
  using P = Preparing<kMode>;
  static constexpr int kThreads = P::kThreads, kVirtual = kNormThreads / kThreads;
  float4 weight[kVirtual][kNormPieces];

  __device__ static int column(int v, int i) { return (i * kNormThreads + v * kThreads + P::thread()) * 4; }
  // Weights depend on nobody.
  __device__ void load_weights(const float* from, int cols) {
#pragma unroll
    for (int v = 0; v < kVirtual; ++v)
#pragma unroll
      for (int i = 0; i < kNormPieces; ++i)
        if (column(v, i) < cols) weight[v][i] = *reinterpret_cast<const float4*>(from + column(v, i));
  }

  template <class Fill>
  __device__ void input(const LinearParams& p, const RmsNormParams& n, unsigned char* xs, int x_bytes, float* x_scale,
                        Fill&& fill) const {
    __shared__ float squares[kNormThreads / 32];
    __shared__ std::uint32_t shared[kThreads / 32];
    const int thread = P::thread();
    for (int token = 0; token < p.tokens; ++token) {
      const float* const x = n.x + static_cast<std::int64_t>(n.rows != nullptr ? n.rows[token] : token) * p.cols;
      float4 held[kVirtual][kNormPieces];
#pragma unroll
      for (int v = 0; v < kVirtual; ++v)
#pragma unroll
        for (int i = 0; i < kNormPieces; ++i)
          if (column(v, i) < p.cols) held[v][i] = *reinterpret_cast<const float4*>(x + column(v, i));
      fill();
#pragma unroll
      for (int v = 0; v < kVirtual; ++v) {
        float sum = 0;
#pragma unroll
        for (int i = 0; i < kNormPieces; ++i)
          if (column(v, i) < p.cols) sum += square_sum(held[v][i]);
        sum = warp_sum(sum);
        if (thread % 32 == 0) squares[(v * kThreads + thread) / 32] = sum;
      }
      P::barrier();
      float total = 0;
#pragma unroll
      for (int i = 0; i < kNormThreads / 32; ++i) total += squares[i];
      const float inverse = inverse_of_norm(total, p.cols, n.eps);
      Vector<T, 4> y[kVirtual][kNormPieces];
      std::uint32_t most = 0;
#pragma unroll
      for (int v = 0; v < kVirtual; ++v)
#pragma unroll
        for (int i = 0; i < kNormPieces; ++i) {
          if (column(v, i) >= p.cols) continue;
          y[v][i] = normed<T>(held[v][i], inverse, weight[v][i]);
#pragma unroll
          for (int j = 0; j < 4; ++j) most = max(most, magnitude(to_float(y[v][i].at[j])));
        }
      unsigned char* const to = xs + token * x_bytes;
      if constexpr (Shape<kMode>::kX8) {
        using Codes = std::conditional_t<kMode == Mode::int8, Int8Codes, Fp8Codes>;
        const float scale = scale_of<Codes>(block_max<kThreads>(most, shared));
        if (thread == 0) x_scale[token] = scale;
#pragma unroll
        for (int v = 0; v < kVirtual; ++v)
#pragma unroll
          for (int i = 0; i < kNormPieces; ++i) {
            if (column(v, i) >= p.cols) continue;
            Vector<typename Codes::Code, 4> codes;
#pragma unroll
            for (int j = 0; j < 4; ++j) codes.at[j] = Codes::code(to_float(y[v][i].at[j]), scale);
            store_operands<kMode>(to, column(v, i), *reinterpret_cast<const std::uint32_t*>(&codes));
          }
      } else {
#pragma unroll
        for (int v = 0; v < kVirtual; ++v)
#pragma unroll
          for (int i = 0; i < kNormPieces; ++i)
            if (column(v, i) < p.cols) *reinterpret_cast<Vector<T, 4>*>(to + 2 * column(v, i)) = y[v][i];
      }
      P::barrier();  // before `squares` and `shared` are written again
    }
  }
};

template <class T, Mode kMode>
__global__ void __launch_bounds__(Config<kMode>::kThreads + Config<kMode>::kHelpers, 1)
    stream_kernel(StreamParams p, int tiles) {
  using S = Shape<kMode>;
  using C = Config<kMode>;
  using X = std::conditional_t<S::kX8, __half, T>;
  using Sum = std::conditional_t<kMode == Mode::int8, int, float>;
  constexpr int kXBytes = kMode == Mode::int8 ? 1 : 2;
  extern __shared__ __align__(128) unsigned char smem[];
  __shared__ Sum partials[C::kGroups][2][kWarps][kStreamTokens][kRows + 1];
  __shared__ float x_scale[kStreamTokens];
  const int lane = threadIdx.x % 32, row_in_half = lane / 4, member = lane % 4;
  const int warp = threadIdx.x / 32 % kWarps, group = threadIdx.x / 32 / kWarps;
  auto& partial = partials[group];
  unsigned char* const ring = smem + static_cast<int>(threadIdx.x) / 32 * C::kStages * C::kStageBytes + lane * 16;
  unsigned char* const xs = smem + C::k.ring_bytes();
  const LinearParams& product = p.product;
  const int x_bytes = stream_x_bytes(product.cols, kMode == Mode::int8);
  const int first_tile = static_cast<int>(blockIdx.x + group * gridDim.x);

  const auto prepare = [&](auto&& fill) {
    Norm<T, kMode> norm;
    if (p.input == StreamInput::norm) norm.load_weights(p.norm.weight, product.cols);
    ptx::wait_for_predecessors();
    ptx::let_successors_begin();
    if (p.input == StreamInput::norm) {
      norm.input(product, p.norm, xs, x_bytes, x_scale, fill);
    } else if (S::kX8 && p.input == StreamInput::numbers) {
      if constexpr (S::kX8) quantize_input<T, kMode>(product, xs, x_bytes, x_scale, fill);
    } else {
      copy_input<kMode>(product, xs, x_bytes, x_scale, fill);
    }
  };
  __shared__ std::uint64_t x_there;
  if constexpr (C::kHelpers > 0) {
    if (threadIdx.x == 0) ptx::mbarrier_init(&x_there, C::kHelpers);
    __syncthreads();
    if (threadIdx.x >= C::kThreads) {
      prepare([] {});
      ptx::mbarrier_arrive(&x_there);
      return;
    }
  }

  Ahead<kMode> ahead(p, first_tile, tiles, warp);
  int filled = 0;
  const auto fill = [&](int stages) {
    for (; filled < stages; ++filled) ahead.load(ptx::smem_address(ring) + filled * C::kStageBytes, tiles);
  };
  const auto fill_all = [&] { fill(C::kStages); };
  fill(C::kEarlyStages);
  // The output of a tile that a lane of the first warps stores. A step's inputs are older than any kernel of the step.
  const int token = 2 * warp + lane / kRows, half = lane % kRows / 8;
  Place place{};
  if (p.output == StreamOutput::rope && token < product.tokens) place = place_of(p.rope, token);
  if constexpr (C::kHelpers > 0) {
    while (filled < C::kStages && !ptx::mbarrier_is_complete(&x_there, 0)) {
      ptx::cp_async_wait<C::kEarlyStages - 1>();
      fill(filled + 1);
    }
    fill_all();
    ptx::mbarrier_wait(&x_there, 0);
    ptx::wait_for_predecessors();  // has ended: what it wrote is visible to this thread as well
  } else {
    prepare(fill_all);
    fill_all();
    Preparing<kMode>::barrier();
  }

  const unsigned char* const x_row = xs + row_in_half * x_bytes;  // lane / 4 is a token as well
  int slot = 0, parity = 0;
  for (int tile = first_tile; tile < tiles; tile += static_cast<int>(gridDim.x) * C::kGroups, parity ^= 1) {
    const int row = row_of(p, p.output, tile, half, lane % 8);
    const bool is_output = token < product.tokens && row < product.rows;
    Addends addends{};
    float w_scale = 1, cosine = 1, sine = 0;
    if (is_output) {
      addends = addends_of(product, token, row);
      if (product.w_scale != nullptr) w_scale = product.w_scale[row];
      if (p.output == StreamOutput::rope) {
        const std::int64_t angle = place.angles + row % (p.rope.head_dim / 2);
        cosine = p.rope.cos[angle], sine = p.rope.sin[angle];
      }
    }
    Sum sum[4] = {};
    for (int unit = warp * S::kUnit; unit < product.cols; unit += kWarps * S::kUnit) {
#pragma unroll
      for (int stage = 0; stage < C::kStagesOfUnit; ++stage) {
        ptx::cp_async_wait<C::kStages - 1>();
        const unsigned char* const from = ring + slot * C::kStageBytes;
#pragma unroll
        for (int c = 0; c < C::kChunks; ++c) {
          const int k = unit + stage * C::kStageCols + c * S::kChunk + member * S::kLaneCols;
          std::uint32_t a[2][2 * S::kSteps], b[2 * S::kSteps] = {};
          expand_weight<X, kMode>(*reinterpret_cast<const uint4*>(from + 2 * c * 512), a[0]);
          expand_weight<X, kMode>(*reinterpret_cast<const uint4*>(from + (2 * c + 1) * 512), a[1]);
          if (row_in_half < product.tokens && k < product.cols) {
#pragma unroll
            for (int i = 0; i < S::kSteps / 2; ++i) {
              const uint4 v = *reinterpret_cast<const uint4*>(x_row + k * kXBytes + 16 * i);
              b[4 * i] = v.x, b[4 * i + 1] = v.y, b[4 * i + 2] = v.z, b[4 * i + 3] = v.w;
            }
          }
#pragma unroll
          for (int s = 0; s < S::kSteps; ++s)
            multiply<X, kMode>(sum, a[0][2 * s], a[1][2 * s], a[0][2 * s + 1], a[1][2 * s + 1], b[2 * s], b[2 * s + 1]);
        }
        // The slot's bytes have been multiplied: its lane may fill it again.
        ahead.load(ptx::smem_address(ring) + slot * C::kStageBytes, tiles);
        if (++slot == C::kStages) slot = 0;
      }
    }

    // Two sets of partial sums take turns, so that one barrier a tile is enough.
#pragma unroll
    for (int i = 0; i < 4; ++i) partial[parity][warp][2 * member + i % 2][row_in_half + 8 * (i / 2)] = sum[i];
    if (C::kGroups == 1 || group == 0)
      ptx::barrier<1>(32 * kWarps);
    else
      ptx::barrier<2>(32 * kWarps);
    if (2 * warp >= product.tokens) continue;
    float value = 0;
    if (is_output) {
      Sum all = partial[parity][0][token][lane % kRows];
#pragma unroll
      for (int w = 1; w < kWarps; ++w) all += partial[parity][w][token][lane % kRows];
      if constexpr (kMode == Mode::fp8) all *= kHalfOfFp8 * kHalfOfFp8;
      value = static_cast<float>(all);
      if constexpr (S::kX8) value = __fmul_rn(value, x_scale[token]);
      if (product.w_scale != nullptr) value = __fmul_rn(value, w_scale);
    }
    if (p.output == StreamOutput::plain) {
      if (is_output) store(product, token, row, value, addends);
      continue;
    }
    if (product.bias != nullptr) value = __fadd_rn(value, addends.bias);
    const float mine = to_float(from_float<T>(value)), other = __shfl_xor_sync(0xffffffffu, mine, 8);
    if (!is_output) continue;
    if (p.output == StreamOutput::rope)
      store_rope<T>(p, place, token, row, half, mine, other, cosine, sine);
    else if (half == 0)
      static_cast<T*>(product.out)[static_cast<std::int64_t>(token) * (product.rows / 2) + row] =
          silu_times(from_float<T>(mine), from_float<T>(other));
  }
}

// What a kernel was compiled for, and how many blocks of it a device has multiprocessors for. Asked once per device,
// when the kernel is allowed the shared memory that its widest product needs.
struct Facts {
  int version = 0, multiprocessors = 0;
};
template <auto kKernel, bool kWide>
cudaError_t facts_of(Facts& facts) {
  static PerDevice<Facts> known;
  return known.get(facts, [](int device, Facts& asked) {
    cudaFuncAttributes attributes{};
    if (const cudaError_t code = cudaFuncGetAttributes(&attributes, kKernel); code != cudaSuccess) return code;
    if (const cudaError_t code = cudaDeviceGetAttribute(&asked.multiprocessors, cudaDevAttrMultiProcessorCount, device);
        code != cudaSuccess)
      return code;
    asked.version = attributes.ptxVersion;
    const StreamConfig config = stream_config(asked.version, kWide);
    const int most = config.smem_kib * 1024 - static_cast<int>(attributes.sharedSizeBytes);
    return cudaFuncSetAttribute(kKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most);
  });
}

template <class T, Mode kMode>
cudaError_t run(const StreamParams& p, cudaStream_t stream) {
  Facts facts;
  if (const cudaError_t code = facts_of<stream_kernel<T, kMode>, Shape<kMode>::kWide>(facts); code != cudaSuccess)
    return code;
  const StreamConfig config = stream_config(facts.version, Shape<kMode>::kWide);
  const int tiles = (p.product.rows + kRows - 1) / kRows;
  const int smem = config.ring_bytes() + p.product.tokens * stream_x_bytes(p.product.cols, kMode == Mode::int8);
  const dim3 grid(static_cast<unsigned>(std::min((tiles + config.groups - 1) / config.groups, facts.multiprocessors)));
  return launch_allowed(stream_kernel<T, kMode>, grid, 32 * (kWarps * config.groups + config.helpers),
                        static_cast<std::size_t>(smem), stream, p, tiles);
}

template <class T>
cudaError_t run_type(const StreamParams& p, cudaStream_t stream) {
  switch (p.product.x_type) {
    case DType::i8:
      return run<T, Mode::int8>(p, stream);
    case DType::f8_e4m3:
      return run<T, Mode::fp8>(p, stream);
    default:
      if (p.product.x_type != p.type) return cudaErrorInvalidValue;
  }
  switch (p.product.weight_type) {
    case DType::i8:
      return run<T, Mode::int8_wo>(p, stream);
    case DType::f8_e4m3:
      return run<T, Mode::fp8_wo>(p, stream);
    default:
      return p.product.weight_type == p.type ? run<T, Mode::same16>(p, stream) : cudaErrorInvalidValue;
  }
}

}  // namespace

cudaError_t linear_stream(const StreamParams& p, cudaStream_t stream) {
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
