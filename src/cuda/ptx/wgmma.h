#pragma once
// Products by a warpgroup of 128 threads that run beside them, of operands in shared memory: 9.0a alone. One
// instruction, one function. Sections are those of the PTX ISA, version 9.0.

#include "cuda/ptx/ptx.h"

namespace rl::cuda::ptx {

// 9.7.15.5.1.2.2 matrix descriptor: rows of 128 bytes from `shared` on, in the order of copies that swizzle 128 bytes
// (eight rows, 1024 bytes apart). `shared` is a multiple of 1024, plus 32 bytes for each step of an operand's columns.
__device__ inline std::uint64_t rows_of_128_bytes(std::uint32_t shared) {
  constexpr std::uint64_t kSwizzle128 = 1ull << 62, kEightRows = 1024 / 16, kUnused = 1;
  return kSwizzle128 | kEightRows << 32 | kUnused << 16 | (shared & 0x3ffff) / 16;
}

// 9.7.15.7.1 wgmma.fence: before the first product of registers that something else has written.
__device__ inline void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
// 9.7.15.7.2 wgmma.commit_group
__device__ inline void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// 9.7.15.7.3 wgmma.wait_group: until at most `kPending` of this warp's groups are under way.
template <int kPending>
__device__ inline void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}
// Results are not read before the wait that stands here.
template <int kCount>
__device__ inline void here(float (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(d[i])::"memory");
}
template <int kCount>
__device__ inline void here(int (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+r"(d[i])::"memory");
}

#define RL_EIGHT(kind, i)                                                                                     \
  kind(d[i]), kind(d[i + 1]), kind(d[i + 2]), kind(d[i + 3]), kind(d[i + 4]), kind(d[i + 5]), kind(d[i + 6]), \
      kind(d[i + 7])
#define RL_REGISTERS(kind)                                                                          \
  RL_EIGHT(kind, 0), RL_EIGHT(kind, 8), RL_EIGHT(kind, 16), RL_EIGHT(kind, 24), RL_EIGHT(kind, 32), \
      RL_EIGHT(kind, 40), RL_EIGHT(kind, 48), RL_EIGHT(kind, 56)

// 9.7.15.5.2 wgmma.mma_async m64n128k32, d = a b^T, or with `add` d += a b^T: a of 64 rows and b of 128, 32 bytes of
// each. Thread t has of rows t / 32 * 16 + t % 32 / 4 (d[4 j], d[4 j + 1]) and 8 more (d[4 j + 2], d[4 j + 3]) the
// columns 8 j + 2 (t % 4) and the next.
__device__ inline void wgmma_m64n128k32_s8(int (&d)[64], std::uint64_t a, std::uint64_t b, bool add) {
  asm volatile(
      "{.reg .pred p;\n\t"
      "setp.ne.b32 p, %66, 0;\n\t"
      "wgmma.mma_async.sync.aligned.m64n128k32.s32.s8.s8 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
      "}, %64, %65, p;}"
      : RL_REGISTERS("+r")
      : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}
// The same of e4m3.
__device__ inline void wgmma_m64n128k32_e4m3(float (&d)[64], std::uint64_t a, std::uint64_t b, bool add) {
  asm volatile(
      "{.reg .pred p;\n\t"
      "setp.ne.b32 p, %66, 0;\n\t"
      "wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
      "}, %64, %65, p, 1, 1;}"
      : RL_REGISTERS("+f")
      : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}

#undef RL_REGISTERS
#undef RL_EIGHT

// 9.7.20.5 setmaxnreg: registers of each thread of the warpgroup from here on; a multiple of 8. All its warps come
// here.
template <int kRegisters>
__device__ inline void fewer_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ inline void more_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

}  // namespace rl::cuda::ptx
