// rms_norm (arXiv 1910.07467), a block of threads to a row, with codes in place of numbers where a W8A8 product comes
// next. Rows of whole vectors that fit the block's registers are read once, and their weights before the wait for the
// predecessor: they depend on nobody. Bytes: x 4, out 4, 2 or 1 an element.

#include "cuda/kernels/linear/quantize.cuh"
#include "cuda/kernels/rows/row_math.cuh"
#include "cuda/kernels/rows/rows.h"
#include "cuda/ptx/ptx.h"

namespace rl::cuda {
namespace {

constexpr int kThreads = kNormThreads, kN = 4, kPieces = kNormPieces;

struct NoCodes {};

// Sums run in the same order whatever is written, so that codes are those of the numbers that would have been written.
template <class T, class Codes, bool kBlocked, bool kHeld>
__global__ void __launch_bounds__(kThreads) rms_norm_kernel(RmsNormParams p) {
  constexpr bool kCodes = !std::is_same_v<Codes, NoCodes>;
  __shared__ float partial[kThreads / 32];
  float4 weight[kHeld ? kPieces : 1];
  const int thread = static_cast<int>(threadIdx.x);
  if constexpr (kHeld) {
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
      const int at = (i * kThreads + thread) * kN;
      if (at < p.hidden) weight[i] = *reinterpret_cast<const float4*>(p.weight + at);
    }
  }
  // Before the wait: a product that comes next fills its ring with weights meanwhile.
  ptx::let_successors_begin();
  ptx::wait_for_predecessors();
  const std::int64_t block = blockIdx.x, row = p.rows != nullptr ? p.rows[block] : block;
  const float* x = p.x + row * p.hidden;
  float sum = 0;
  float4 held[kHeld ? kPieces : 1];
  if constexpr (kHeld) {
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
      const int at = (i * kThreads + thread) * kN;
      if (at >= p.hidden) continue;
      held[i] = *reinterpret_cast<const float4*>(x + at);
      sum += square_sum(held[i]);
    }
  } else {
    for (int i = thread; i < p.hidden; i += kThreads) sum += x[i] * x[i];
  }
  const float inverse = inverse_of_norm(block_sum<kThreads>(sum, partial), p.hidden, p.eps);

  if constexpr (kHeld) {
    Pieces<T, kN, kPieces> y;
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
      if ((i * kThreads + thread) * kN >= p.hidden) continue;
      y[i] = normed<T>(held[i], inverse, weight[i]);
    }
    if constexpr (!kCodes) {
      T* out = static_cast<T*>(p.out) + block * p.hidden;
#pragma unroll
      for (int i = 0; i < kPieces; ++i) {
        const int at = (i * kThreads + thread) * kN;
        if (at < p.hidden) vector_at<kN>(out, at) = y[i];
      }
    } else if constexpr (kBlocked) {
      store_blocked_codes<Codes, kThreads, T, kN, kPieces>(
          y, p.hidden, p.coded.scales + block * blocks_of(p.hidden),
          static_cast<typename Codes::Code*>(p.coded.codes) + block * p.hidden);
    } else {
      __shared__ std::uint32_t shared[kThreads / 32];
      const float scale =
          scale_of<Codes>(block_max<kThreads>(largest_of<kThreads, T, kN, kPieces>(y, p.hidden), shared));
      if (thread == 0) p.coded.scales[block] = scale;
      store_codes<Codes, kThreads, T, kN, kPieces>(
          y, p.hidden, scale, static_cast<typename Codes::Code*>(p.coded.codes) + block * p.hidden);
    }
  } else {
    const auto number = [&](int i) { return from_float<T>(x[i] * inverse * p.weight[i]); };
    if constexpr (!kCodes) {
      T* out = static_cast<T*>(p.out) + block * p.hidden;
      for (int i = thread; i < p.hidden; i += kThreads) out[i] = number(i);
    } else {
      store_codes_of<Codes, kBlocked, kThreads>([&](int i) { return to_float(number(i)); }, p.hidden,
                                                p.coded.scales + block * (kBlocked ? blocks_of(p.hidden) : 1),
                                                static_cast<typename Codes::Code*>(p.coded.codes) + block * p.hidden);
    }
  }
}

template <class T, class Codes, bool kBlocked = false>
cudaError_t run(const RmsNormParams& p, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(p.n));
  return p.hidden % kN == 0 && p.hidden <= kNormHeldCols
             ? launch(rms_norm_kernel<T, Codes, kBlocked, true>, grid, kThreads, 0, stream, p)
             : launch(rms_norm_kernel<T, Codes, kBlocked, false>, grid, kThreads, 0, stream, p);
}

template <class T>
cudaError_t run(const RmsNormParams& p, cudaStream_t stream) {
  if (p.coded.codes == nullptr) return run<T, NoCodes>(p, stream);
  if (p.coded.type == DType::i8) return run<T, Int8Codes>(p, stream);
  return p.coded.blocked ? run<T, Fp8Codes, true>(p, stream) : run<T, Fp8Codes>(p, stream);
}

}  // namespace

cudaError_t rms_norm_rows(const RmsNormParams& p, cudaStream_t stream) {
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
