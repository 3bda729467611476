#pragma once
// Products by a warpgroup of 128 threads that run beside them, of operands in shared memory: 9.0a alone. One
// instruction, one function. Sections are those of the PTX ISA, version 9.0.

#include <type_traits>

#include "cuda/ptx/ptx.h"

namespace rl::cuda::ptx {

// 9.7.15.5.1.2.2 matrix descriptor: rows of 128 bytes from `shared` on, in the order of copies that swizzle 128 bytes
// (eight rows, 1024 bytes apart). `shared` is a multiple of 1024, plus 32 bytes for each step of an operand's columns.
__device__ inline std::uint64_t rows_of_128_bytes(std::uint32_t shared) {
  constexpr std::uint64_t kSwizzle128 = 1ull << 62, kEightRows = 1024 / 16, kUnused = 1;
  return kSwizzle128 | kEightRows << 32 | kUnused << 16 | (shared & 0x3ffff) / 16;
}

// The same for the B operand from rows of what is summed over, 16 at a time, of 64 columns each; the next 64 columns
// are `next` bytes on. For 16-bit types.
__device__ inline std::uint64_t columns_of_128_bytes(std::uint32_t shared, int next) {
  constexpr std::uint64_t kSwizzle128 = 1ull << 62, kEightRows = 1024 / 16;
  return kSwizzle128 | kEightRows << 32 | static_cast<std::uint64_t>(next / 16) << 16 | (shared & 0x3ffff) / 16;
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

#define RL_8(kind, i)                                                                                         \
  kind(d[i]), kind(d[i + 1]), kind(d[i + 2]), kind(d[i + 3]), kind(d[i + 4]), kind(d[i + 5]), kind(d[i + 6]), \
      kind(d[i + 7])
#define RL_32(kind) RL_8(kind, 0), RL_8(kind, 8), RL_8(kind, 16), RL_8(kind, 24)
#define RL_64(kind) RL_32(kind), RL_8(kind, 32), RL_8(kind, 40), RL_8(kind, 48), RL_8(kind, 56)
#define RL_NAMES_32                                                        \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define RL_NAMES_64                                                                    \
  RL_NAMES_32                                                                          \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
// `what` is the instruction's end, d the names of its registers, `add` that of the number which says whether to add.
#define RL_MULTIPLY(what, d, operands, add) \
  "{.reg .pred p;\n\tsetp.ne.b32 p, " add ", 0;\n\twgmma.mma_async.sync.aligned." what " {" d "}, " operands ";}"

// 9.7.15.5.2 wgmma.mma_async m64n128k32, d = a b^T, or with `add` d += a b^T: a of 64 rows and b of 128, 32 bytes of
// each. Thread t has of rows t / 32 * 16 + t % 32 / 4 (d[4 j], d[4 j + 1]) and 8 more (d[4 j + 2], d[4 j + 3]) the
// columns 8 j + 2 (t % 4) and the next.
__device__ inline void wgmma_m64n128k32_s8(int (&d)[64], std::uint64_t a, std::uint64_t b, bool add) {
  asm volatile(RL_MULTIPLY("m64n128k32.s32.s8.s8", RL_NAMES_64, "%64, %65, p", "%66")
               : RL_64("+r")
               : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}
// The same of e4m3.
__device__ inline void wgmma_m64n128k32_e4m3(float (&d)[64], std::uint64_t a, std::uint64_t b, bool add) {
  asm volatile(RL_MULTIPLY("m64n128k32.f32.e4m3.e4m3", RL_NAMES_64, "%64, %65, p, 1, 1", "%66")
               : RL_64("+f")
               : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}

// Of 16-bit numbers T; then come the operands' constraints.
#define RL_MULTIPLY_16(shape, d, operands, add, results, ...)                                  \
  if constexpr (std::is_same_v<T, __half>)                                                     \
    asm volatile(RL_MULTIPLY(shape ".f32.f16.f16", d, operands, add) : results : __VA_ARGS__); \
  else                                                                                         \
    asm volatile(RL_MULTIPLY(shape ".f32.bf16.bf16", d, operands, add) : results : __VA_ARGS__)

// The same of 16-bit numbers, 32 bytes of each row; b has twice as many rows as d elements.
template <class T>
__device__ inline void wgmma_rows(float (&d)[64], std::uint64_t a, std::uint64_t b, bool add) {
  RL_MULTIPLY_16("m64n128k16", RL_NAMES_64, "%64, %65, p, 1, 1, 0, 0", "%66", RL_64("+f"), "l"(a), "l"(b),
                 "r"(static_cast<int>(add)));
}
template <class T>
__device__ inline void wgmma_rows(float (&d)[32], std::uint64_t a, std::uint64_t b, bool add) {
  RL_MULTIPLY_16("m64n64k16", RL_NAMES_32, "%32, %33, p, 1, 1, 0, 0", "%34", RL_32("+f"), "l"(a), "l"(b),
                 "r"(static_cast<int>(add)));
}
// d = a b, or d += a b: a warp's 16 rows of a in registers, as the A operand of mma.sync's m16n8k16, and b by
// columns_of_128_bytes.
template <class T>
__device__ inline void wgmma_columns(float (&d)[64], const std::uint32_t (&a)[4], std::uint64_t b, bool add) {
  RL_MULTIPLY_16("m64n128k16", RL_NAMES_64, "{%64, %65, %66, %67}, %68, p, 1, 1, 1", "%69", RL_64("+f"), "r"(a[0]),
                 "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(add)));
}
template <class T>
__device__ inline void wgmma_columns(float (&d)[32], const std::uint32_t (&a)[4], std::uint64_t b, bool add) {
  RL_MULTIPLY_16("m64n64k16", RL_NAMES_32, "{%32, %33, %34, %35}, %36, p, 1, 1, 1", "%37", RL_32("+f"), "r"(a[0]),
                 "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(add)));
}

#undef RL_MULTIPLY_16
#undef RL_MULTIPLY
#undef RL_NAMES_64
#undef RL_NAMES_32
#undef RL_64
#undef RL_32
#undef RL_8

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
