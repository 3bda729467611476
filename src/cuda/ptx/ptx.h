#pragma once
// One instruction, one function. Sections are those of the PTX ISA, version 9.0.

#include <cstdint>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace rl::cuda::ptx {

__device__ inline std::uint32_t smem_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

// 10.1 %tid.x, read where it stands: what is computed from it is not kept in registers across a loop.
__device__ inline int thread_again() {
  int thread;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
  return thread;
}
// The same of a value at hand.
__device__ inline std::uint32_t again(std::uint32_t x) {
  std::uint32_t y;
  asm volatile("mov.b32 %0, %1;" : "=r"(y) : "r"(x));
  return y;
}

// 9.7.9.6 shfl.sync of lane 0: says that a value is equal in all lanes, so that it can be in a uniform register.
__device__ inline int uniform(int x) { return __shfl_sync(0xffffffffu, x, 0); }

// 9.7.13.1 bar.sync: of `threads` threads, whole warps, with one of the barriers 1 to 15.
template <int kWhich>
__device__ inline void barrier(int threads) {
  asm volatile("bar.sync %0, %1;" ::"n"(kWhich), "r"(threads) : "memory");
}
__device__ inline void barrier(int which, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(which), "r"(threads) : "memory");
}
// bar.arrive: counts as one of them, and does not wait.
__device__ inline void barrier_arrive(int which, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(which), "r"(threads) : "memory");
}

// 9.7.9.25.3.1 cp.async: 16 bytes from global to shared memory, past L1. `valid` false writes zeros and reads nothing.
__device__ inline void cp_async_16(std::uint32_t shared, const void* global, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(global), "r"(valid ? 16 : 0)
               : "memory");
}
__device__ inline void cp_async_16(std::uint32_t shared, const void* global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared), "l"(global) : "memory");
}
__device__ inline void cp_async_16(void* shared, const void* global, bool valid = true) {
  cp_async_16(smem_address(shared), global, valid);
}
// The same of bytes that are read once and in order: the whole line of 128 bytes comes to L2.
__device__ inline void cp_async_16_streaming(std::uint32_t shared, const void* global, bool valid) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(shared), "l"(global), "r"(valid ? 16 : 0)
               : "memory");
}
// 9.7.9.25.3.2 cp.async.commit_group
__device__ inline void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// 9.7.9.25.3.3 cp.async.wait_group: until at most `kPending` of this thread's groups are under way.
template <int kPending>
__device__ inline void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// 9.7.14.5.15 ldmatrix: four 8x8 matrices of 16-bit elements; thread i gives the address of a row of matrix i / 8.
__device__ inline void ldmatrix_x4(std::uint32_t (&d)[4], std::uint32_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(row)
               : "memory");
}
__device__ inline void ldmatrix_x4_trans(std::uint32_t (&d)[4], std::uint32_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(row)
               : "memory");
}
__device__ inline void ldmatrix_x4(std::uint32_t (&d)[4], const void* row) { ldmatrix_x4(d, smem_address(row)); }
__device__ inline void ldmatrix_x4_trans(std::uint32_t (&d)[4], const void* row) {
  ldmatrix_x4_trans(d, smem_address(row));
}

// 9.7.14.5.14 mma.sync m16n8k16, fp32 accumulator: c += a b, a row-major 16x16, b column-major 16x8.
template <class T>
__device__ inline void mma_m16n8k16(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1);
template <>
__device__ inline void mma_m16n8k16<__nv_bfloat16>(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                                   std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <>
__device__ inline void mma_m16n8k16<__half>(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                            std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// The same, m16n8k32 of int8 with an int32 accumulator.
__device__ inline void mma_m16n8k32_s8(std::int32_t (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                       std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// The same, m16n8k32 of e4m3 with an fp32 accumulator; 8.9 and newer.
__device__ inline void mma_m16n8k32_e4m3(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                         std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// 9.7.9.21 cvt.rn.f16x2.e4m3x2: four codes as fp16, exactly; 8.9 and newer.
__device__ inline void convert_e4m3x4(std::uint32_t codes, std::uint32_t& low, std::uint32_t& high) {
  asm("{.reg .b16 first, second;\n\t"
      "mov.b32 {first, second}, %2;\n\t"
      "cvt.rn.f16x2.e4m3x2 %0, first;\n\t"
      "cvt.rn.f16x2.e4m3x2 %1, second;}"
      : "=r"(low), "=r"(high)
      : "r"(codes));
}

// 9.7.9.11 st.shared: 16 bytes of zeros.
__device__ inline void store_zeros(std::uint32_t shared) {
  asm volatile("st.shared.v4.u32 [%0], {%1, %1, %1, %1};" ::"r"(shared), "r"(0) : "memory");
}

// 9.7.9.8 ld.global.nc with no place kept in L1: 16 bytes of weights that are read once.
__device__ inline uint4 load_streaming(const void* global) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(global));
  return v;
}

// 9.7.13.5 atom with release and acquire at the scope of the device: what this thread's block wrote before its last
// barrier is visible to who adds later, and what those wrote who added before to this thread's block after its next
// one. Gives the value before.
__device__ inline std::uint32_t add_in_turn(std::uint32_t* global, std::uint32_t n) {
  std::uint32_t before;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;" : "=r"(before) : "l"(global), "r"(n) : "memory");
  return before;
}

// 9.7.3.21 ex2.approx.ftz: 2^x to within 2^-22.5 of itself; subnormal results are zero.
__device__ inline float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// 9.7.13.14 griddepcontrol (9.0 and newer; before it kernels run one after the other anyway).
// Until the grids this one was launched behind have ended and what they wrote is visible.
__device__ inline void wait_for_predecessors() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// The next grid in the stream may begin once every block has come here or ended.
__device__ inline void let_successors_begin() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// 9.7.13.15 mbarrier: in shared memory. A phase ends when all have arrived; phases have parity 0, 1, 0, ...
__device__ inline void mbarrier_init(std::uint64_t* barrier, int arrivals) {
  asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(smem_address(barrier)), "r"(arrivals) : "memory");
}
__device__ inline void mbarrier_arrive(std::uint64_t* barrier) {
  asm volatile("{.reg .b64 state; mbarrier.arrive.shared.b64 state, [%0];}" ::"r"(smem_address(barrier)) : "memory");
}
// Arrives when this thread's cp.async of before have come.
__device__ inline void mbarrier_arrive_with_copies(std::uint64_t* barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(smem_address(barrier)) : "memory");
}
// Whether the phase of this parity has ended; does not wait. Before the first phase parity 1 counts as ended.
__device__ inline bool mbarrier_is_complete(std::uint64_t* barrier, int parity) {
  std::uint32_t complete;
  asm volatile("{.reg .pred p; mbarrier.test_wait.parity.shared.b64 p, [%1], %2; selp.u32 %0, 1, 0, p;}"
               : "=r"(complete)
               : "r"(smem_address(barrier)), "r"(parity)
               : "memory");
  return complete != 0;
}
// Until it has, without taking turns from those who work.
__device__ inline void mbarrier_wait(std::uint64_t* barrier, int parity) {
#if __CUDA_ARCH__ >= 900
  std::uint32_t complete = 0;
  while (complete == 0)
    asm volatile("{.reg .pred p; mbarrier.try_wait.parity.shared.b64 p, [%1], %2; selp.u32 %0, 1, 0, p;}"
                 : "=r"(complete)
                 : "r"(smem_address(barrier)), "r"(parity)
                 : "memory");
#else
  while (!mbarrier_is_complete(barrier, parity)) __nanosleep(20);
#endif
}

}  // namespace rl::cuda::ptx
