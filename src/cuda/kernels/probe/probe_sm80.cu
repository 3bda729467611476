// Ceilings: reading memory (16-byte loads, 8 in flight per thread), and an empty kernel.

#include "cuda/kernels/probe/probe.h"
#include "cuda/ptx/ptx.h"

namespace rl::cuda {
namespace {

constexpr int kThreads = 512, kLoads = 8;

__global__ void __launch_bounds__(kThreads) read_kernel(const uint4* data, std::int64_t n, std::uint32_t* sink) {
  std::uint32_t all = 0xffffffffu;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads * kLoads + threadIdx.x; i < n;
       i += static_cast<std::int64_t>(gridDim.x) * kThreads * kLoads) {
    uint4 v[kLoads];
#pragma unroll
    for (int j = 0; j < kLoads; ++j)
      v[j] = i + j * kThreads < n ? ptx::load_streaming(data + i + j * kThreads) : uint4{0, 0, 0, 0};
#pragma unroll
    for (int j = 0; j < kLoads; ++j) all &= v[j].x & v[j].y & v[j].z & v[j].w;
  }
  if (all == 0xffffffffu) *sink = all;
}

__device__ std::uint32_t mixed(std::uint32_t x) {
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  return x ^ x >> 16;
}

// Bytes with the bits s011 mmmm: as the high byte of bf16 or fp16 and as e4m3 they are numbers between 2^-33 and 2.
__global__ void __launch_bounds__(kThreads) fill_kernel(std::uint32_t* data, std::int64_t n, std::uint32_t seed) {
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < n;
       i += static_cast<std::int64_t>(gridDim.x) * kThreads)
    data[i] = (mixed(static_cast<std::uint32_t>(i) ^ seed) & 0x8f8f8f8fu) | 0x30303030u;
}

__global__ void empty_kernel() {}

constexpr unsigned kBlocks = 132 * 8;

}  // namespace

cudaError_t read_all(const void* data, std::int64_t bytes, std::uint32_t* sink, cudaStream_t stream) {
  const std::int64_t n = bytes / 16, per_block = static_cast<std::int64_t>(kThreads) * kLoads;
  read_kernel<<<static_cast<unsigned>((n + per_block - 1) / per_block), kThreads, 0, stream>>>(
      static_cast<const uint4*>(data), n, sink);
  return cudaGetLastError();
}

cudaError_t fill_random(void* data, std::int64_t bytes, std::uint32_t seed, cudaStream_t stream) {
  fill_kernel<<<kBlocks, kThreads, 0, stream>>>(static_cast<std::uint32_t*>(data), bytes / 4, seed);
  return cudaGetLastError();
}

cudaError_t empty(cudaStream_t stream) {
  empty_kernel<<<1, 32, 0, stream>>>();
  return cudaGetLastError();
}

}  // namespace rl::cuda
