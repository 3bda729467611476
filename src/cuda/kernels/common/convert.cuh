#pragma once
// 8-bit codes to 16-bit numbers, four at a time: with integer instructions that every architecture has, or with those
// that 8.9 has for e4m3.

#include <cstdint>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "cuda/ptx/ptx.h"

namespace rl::cuda {

// e4m3 to fp16 with the exponent's bias left as it is: each number is 2^-8 of its code's value, exactly, subnormal ones
// included. A code for NaN becomes a number: packed weights and activations have none.
__device__ inline void fp8_to_half_scaled(std::uint32_t codes, std::uint32_t& low, std::uint32_t& high) {
  const std::uint32_t a = __byte_perm(codes, 0, 0x1404), b = __byte_perm(codes, 0, 0x3424);
  low = (a & 0x80008000u) | ((a >> 1) & 0x3f803f80u);
  high = (b & 0x80008000u) | ((b >> 1) & 0x3f803f80u);
}

// The cheapest of the two, and what a sum of such numbers is multiplied by, once for each such factor.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
constexpr float kHalfOfFp8 = 1.0f;
__device__ inline void fp8_to_half(std::uint32_t codes, std::uint32_t& low, std::uint32_t& high) {
  ptx::convert_e4m3x4(codes, low, high);
}
#else
constexpr float kHalfOfFp8 = 256.0f;
__device__ inline void fp8_to_half(std::uint32_t codes, std::uint32_t& low, std::uint32_t& high) {
  fp8_to_half_scaled(codes, low, high);
}
#endif

__device__ inline std::uint32_t bits_of(__nv_bfloat162 x) { return *reinterpret_cast<std::uint32_t*>(&x); }
__device__ inline std::uint32_t bits_of(__half2 x) { return *reinterpret_cast<std::uint32_t*>(&x); }
template <class T>
__device__ inline T pair_of(std::uint32_t bits) {
  return *reinterpret_cast<T*>(&bits);
}

// Codes to numbers of type T, exactly.
template <class T>
struct Widen;

template <>
struct Widen<__nv_bfloat16> {
  __device__ static void fp8(std::uint32_t codes, std::uint32_t& low, std::uint32_t& high) {
    const std::uint32_t a = __byte_perm(codes, 0, 0x1404), b = __byte_perm(codes, 0, 0x3424);
    const auto rebias = pair_of<__nv_bfloat162>(0x7b807b80u);  // 2^120
    low = bits_of(__hmul2(pair_of<__nv_bfloat162>((a & 0x80008000u) | ((a >> 4) & 0x07f007f0u)), rebias));
    high = bits_of(__hmul2(pair_of<__nv_bfloat162>((b & 0x80008000u) | ((b >> 4) & 0x07f007f0u)), rebias));
  }
  // By way of floats 2^23 + 128 + code, whose last byte is the code.
  __device__ static void int8(std::uint32_t codes, std::uint32_t& low, std::uint32_t& high) {
    const std::uint32_t u = codes ^ 0x80808080u;
    float f[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) f[i] = __uint_as_float(__byte_perm(u, 0x4b000000u, 0x7650 + i)) - 8388736.0f;
    low = bits_of(__floats2bfloat162_rn(f[0], f[1]));
    high = bits_of(__floats2bfloat162_rn(f[2], f[3]));
  }
};

template <>
struct Widen<__half> {
  __device__ static void fp8(std::uint32_t codes, std::uint32_t& low, std::uint32_t& high) {
    fp8_to_half_scaled(codes, low, high);
    const auto rebias = pair_of<__half2>(0x5c005c00u);  // 2^8
    low = bits_of(__hmul2(pair_of<__half2>(low), rebias));
    high = bits_of(__hmul2(pair_of<__half2>(high), rebias));
  }
  // By way of 1024 + 128 + code.
  __device__ static void int8(std::uint32_t codes, std::uint32_t& low, std::uint32_t& high) {
    const std::uint32_t u = codes ^ 0x80808080u;
    const auto offset = pair_of<__half2>(0x64806480u);  // 1152
    low = bits_of(__hsub2(pair_of<__half2>(__byte_perm(u, 0x64646464u, 0x4140)), offset));
    high = bits_of(__hsub2(pair_of<__half2>(__byte_perm(u, 0x64646464u, 0x4342)), offset));
  }
};

}  // namespace rl::cuda
