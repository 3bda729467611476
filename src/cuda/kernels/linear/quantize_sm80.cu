// quantize_rows and widen: passes over activations before W8A8 products, and over weight-only codes before products of
// many tokens. Bytes: each input read once (quantize_rows twice, the second time from cache), each output written once.

#include "cuda/kernels/common/convert.cuh"
#include "cuda/kernels/linear/quantize.cuh"
#include "cuda/ptx/ptx.h"

namespace rl::cuda {
namespace {

constexpr int kThreads = 256;

// A block of threads to a token.
template <class T, class Codes, bool kBlocked>
__global__ void __launch_bounds__(kThreads) quantize_kernel(QuantizeParams p) {
  ptx::wait_for_predecessors();
  ptx::let_successors_begin();
  const std::int64_t token = blockIdx.x;
  const T* x = static_cast<const T*>(p.x) + token * p.x_stride;
  store_codes_of<Codes, kBlocked, kThreads>([x](int i) { return to_float(x[i]); }, p.cols,
                                            p.scale + token * (kBlocked ? blocks_of(p.cols) : 1),
                                            static_cast<typename Codes::Code*>(p.q) + token * p.cols);
}

// The same for rows of whole 16-byte pieces that fit a block's registers: each element is loaded once.
constexpr int kWideThreads = 512, kPieces = 4;
template <class T>
constexpr int kWideCols = kWideThreads* kPieces*(16 / static_cast<int>(sizeof(T)));

template <class T, class Codes>
__global__ void __launch_bounds__(kWideThreads) quantize_wide_kernel(QuantizeParams p) {
  constexpr int kN = 16 / sizeof(T);
  __shared__ std::uint32_t shared[kWideThreads / 32];
  ptx::wait_for_predecessors();
  ptx::let_successors_begin();
  const std::int64_t token = blockIdx.x;
  const T* x = static_cast<const T*>(p.x) + token * p.x_stride;
  Pieces<T, kN, kPieces> piece;
#pragma unroll
  for (int i = 0; i < kPieces; ++i) {
    const int at = (i * kWideThreads + static_cast<int>(threadIdx.x)) * kN;
    if (at < p.cols) piece[i] = vector_at<kN>(x, at);
  }
  const float scale =
      scale_of<Codes>(block_max<kWideThreads>(largest_of<kWideThreads, T, kN, kPieces>(piece, p.cols), shared));
  if (threadIdx.x == 0) p.scale[token] = scale;
  store_codes<Codes, kWideThreads, T, kN, kPieces>(piece, p.cols, scale,
                                                   static_cast<typename Codes::Code*>(p.q) + token * p.cols);
}

template <class T>
cudaError_t quantize(const QuantizeParams& p, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(p.tokens));
  constexpr int kN = 16 / sizeof(T);
  const bool wide = !p.blocked && p.cols <= kWideCols<T> && p.cols % kN == 0 && p.x_stride % kN == 0 &&
                    reinterpret_cast<std::uintptr_t>(p.x) % 16 == 0;
  if (wide)
    return p.q_type == DType::i8 ? launch(quantize_wide_kernel<T, Int8Codes>, grid, kWideThreads, 0, stream, p)
                                 : launch(quantize_wide_kernel<T, Fp8Codes>, grid, kWideThreads, 0, stream, p);
  if (p.q_type == DType::i8) return launch(quantize_kernel<T, Int8Codes, false>, grid, kThreads, 0, stream, p);
  if (p.blocked) return launch(quantize_kernel<T, Fp8Codes, true>, grid, kThreads, 0, stream, p);
  return launch(quantize_kernel<T, Fp8Codes, false>, grid, kThreads, 0, stream, p);
}

// n is a multiple of 4: rows are.
template <class T, bool kFp8>
__global__ void __launch_bounds__(kThreads) widen_kernel(WidenParams p) {
  ptx::wait_for_predecessors();
  ptx::let_successors_begin();
  const auto* from = static_cast<const std::uint32_t*>(p.codes);
  auto* to = static_cast<uint2*>(p.out);
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * kThreads;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < p.n / 4; i += stride) {
    uint2 wide;
    if constexpr (kFp8)
      Widen<T>::fp8(from[i], wide.x, wide.y);
    else
      Widen<T>::int8(from[i], wide.x, wide.y);
    to[i] = wide;
  }
}

}  // namespace

cudaError_t quantize_rows(const QuantizeParams& p, cudaStream_t stream) {
  switch (p.x_type) {
    case DType::f32:
      return quantize<float>(p, stream);
    case DType::bf16:
      return quantize<__nv_bfloat16>(p, stream);
    case DType::f16:
      return quantize<__half>(p, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

cudaError_t widen(const WidenParams& p, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(std::min<std::int64_t>((p.n / 4 + kThreads - 1) / kThreads, 4096)));
  const bool fp8 = p.type == DType::f8_e4m3;
  if (p.out_type == DType::bf16)
    return fp8 ? launch(widen_kernel<__nv_bfloat16, true>, grid, kThreads, 0, stream, p)
               : launch(widen_kernel<__nv_bfloat16, false>, grid, kThreads, 0, stream, p);
  return fp8 ? launch(widen_kernel<__half, true>, grid, kThreads, 0, stream, p)
             : launch(widen_kernel<__half, false>, grid, kThreads, 0, stream, p);
}

}  // namespace rl::cuda
