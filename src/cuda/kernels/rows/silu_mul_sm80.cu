// silu_mul on vectors of 16 bytes, with a tail for sizes that no vector divides, and codes in place of numbers where a
// W8A8 product comes next. A scale belongs to a whole row, so a row of codes is one block's; of few rows, where one
// multiprocessor would be too slow, a cluster's of eight blocks (9.0 and newer), which tell each other their largest
// numbers. Bytes: gate and up once, out 4, 2 or 1 an element.

#include "cuda/kernels/common/launch_cluster.h"
#include "cuda/kernels/linear/quantize.cuh"
#include "cuda/kernels/rows/row_math.cuh"
#include "cuda/kernels/rows/rows.h"
#include "cuda/ptx/cluster.h"

namespace rl::cuda {
namespace {

constexpr int kThreads = 256, kRowThreads = 512, kPieces = 4, kCluster = 8;
constexpr int kClusterTokens = 16;  // at most: 128 blocks

template <class T, int kN>
__device__ inline Vector<T, kN> silu_times_all(const Vector<T, kN>& gate, const Vector<T, kN>& up) {
  Vector<T, kN> y;
#pragma unroll
  for (int j = 0; j < kN; ++j) y.at[j] = silu_times(gate.at[j], up.at[j]);
  return y;
}

template <class T>
__global__ void __launch_bounds__(kThreads) silu_mul_kernel(SiluMulParams p) {
  constexpr int kN = 16 / sizeof(T);
  ptx::wait_for_predecessors();
  ptx::let_successors_begin();
  const std::int64_t token = blockIdx.y;
  const T* gate = static_cast<const T*>(p.gate_up) + token * 2 * p.ffn;
  const T* up = gate + p.ffn;
  T* out = static_cast<T*>(p.out) + token * p.ffn;
  const int first = blockIdx.x * kThreads + threadIdx.x, stride = gridDim.x * kThreads;
  if (p.ffn % kN == 0) {
    for (int i = first * kN; i < p.ffn; i += stride * kN)
      vector_at<kN>(out, i) = silu_times_all(vector_at<kN>(gate, i), vector_at<kN>(up, i));
  } else {
    for (int i = first; i < p.ffn; i += stride) out[i] = silu_times(gate[i], up[i]);
  }
}

// x: the row's part of columns (kParts of them; blocked: a block's own, with no word to the others), y: the token.
// kHeld: parts of whole vectors that fit the block's registers.
template <class T, class Codes, bool kBlocked, int kParts, bool kHeld>
__global__ void __launch_bounds__(kRowThreads) silu_mul_codes_kernel(SiluMulParams p, int part_cols) {
  constexpr int kN = 16 / sizeof(T);
  using Code = typename Codes::Code;
  const std::int64_t token = blockIdx.y;
  const int begin = static_cast<int>(blockIdx.x) * part_cols, cols = min(part_cols, p.ffn - begin);
  const T* gate = static_cast<const T*>(p.gate_up) + token * 2 * p.ffn + begin;
  const T* up = gate + p.ffn;
  Code* codes = static_cast<Code*>(p.coded.codes) + token * p.ffn + begin;
  float* scales = p.coded.scales + (kBlocked ? token * blocks_of(p.ffn) + begin / kScaleBlock : token);
  if constexpr (kParts > 1) ptx::cluster_arrive();
  ptx::wait_for_predecessors();
  ptx::let_successors_begin();
  if constexpr (kHeld) {
    Pieces<T, kN, kPieces> y;
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
      const int at = (i * kRowThreads + static_cast<int>(threadIdx.x)) * kN;
      if (at < cols) y[i] = silu_times_all(vector_at<kN>(gate, at), vector_at<kN>(up, at));
    }
    if constexpr (kBlocked) {
      store_blocked_codes<Codes, kRowThreads, T, kN, kPieces>(y, cols, scales, codes);
    } else {
      __shared__ std::uint32_t shared[kRowThreads / 32], told[kParts];
      std::uint32_t most = block_max<kRowThreads>(largest_of<kRowThreads, T, kN, kPieces>(y, cols), shared);
      if constexpr (kParts > 1) {
        ptx::cluster_wait();  // until all blocks of the cluster are there to be told
        if (threadIdx.x < kParts) ptx::store_cluster(told + blockIdx.x, threadIdx.x, most);
        ptx::cluster_arrive();
        ptx::cluster_wait();
#pragma unroll
        for (int i = 0; i < kParts; ++i) most = max(most, told[i]);
      }
      const float scale = scale_of<Codes>(most);
      if (blockIdx.x == 0 && threadIdx.x == 0) *scales = scale;
      store_codes<Codes, kRowThreads, T, kN, kPieces>(y, cols, scale, codes);
    }
  } else {
    store_codes_of<Codes, kBlocked, kRowThreads>([&](int i) { return to_float(silu_times(gate[i], up[i])); }, cols,
                                                 scales, codes);
  }
}

bool has_clusters() {
  int device = 0, major = 0;
  return cudaGetDevice(&device) == cudaSuccess &&
         cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess && major >= 9;
}

constexpr int up_to(int n, int unit) { return (n + unit - 1) / unit * unit; }

template <class T, class Codes, bool kBlocked>
cudaError_t run_codes(const SiluMulParams& p, cudaStream_t stream) {
  constexpr int kN = 16 / sizeof(T), kHeldCols = kRowThreads * kN * kPieces;
  const auto tokens = static_cast<unsigned>(p.tokens);
  if (p.ffn % kN != 0)
    return launch(silu_mul_codes_kernel<T, Codes, kBlocked, 1, false>, dim3(1, tokens), kRowThreads, 0, stream, p,
                  p.ffn);
  if constexpr (kBlocked) {
    // Blocks of scales are nobody else's business: as many parts as there are threads' vectors.
    const int part = std::min(up_to(p.ffn, kScaleBlock), kRowThreads * kN);
    return launch(silu_mul_codes_kernel<T, Codes, true, 1, true>,
                  dim3(static_cast<unsigned>((p.ffn + part - 1) / part), tokens), kRowThreads, 0, stream, p, part);
  } else {
    const int part = up_to((p.ffn + kCluster - 1) / kCluster, kN);
    if (p.tokens <= kClusterTokens && part <= kHeldCols && part * (kCluster - 1) < p.ffn && has_clusters())
      return launch_cluster(silu_mul_codes_kernel<T, Codes, false, kCluster, true>, dim3(kCluster, tokens), kCluster,
                            kRowThreads, 0, stream, p, part);
    if (p.ffn <= kHeldCols)
      return launch(silu_mul_codes_kernel<T, Codes, false, 1, true>, dim3(1, tokens), kRowThreads, 0, stream, p, p.ffn);
    return launch(silu_mul_codes_kernel<T, Codes, false, 1, false>, dim3(1, tokens), kRowThreads, 0, stream, p, p.ffn);
  }
}

template <class T>
cudaError_t run(const SiluMulParams& p, cudaStream_t stream) {
  if (p.coded.codes != nullptr) {
    if (p.coded.type == DType::i8) return run_codes<T, Int8Codes, false>(p, stream);
    return p.coded.blocked ? run_codes<T, Fp8Codes, true>(p, stream) : run_codes<T, Fp8Codes, false>(p, stream);
  }
  constexpr int kPerBlock = kThreads * (16 / sizeof(T));
  const dim3 grid(static_cast<unsigned>((p.ffn + kPerBlock - 1) / kPerBlock), static_cast<unsigned>(p.tokens));
  return launch(silu_mul_kernel<T>, grid, kThreads, 0, stream, p);
}

}  // namespace

cudaError_t silu_mul_rows(const SiluMulParams& p, cudaStream_t stream) {
  switch (p.type) {
    case DType::f32:
      return run<float>(p, stream);
    case DType::bf16:
      return run<__nv_bfloat16>(p, stream);
    case DType::f16:
      return run<__half>(p, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace rl::cuda
