#pragma once
// The machine's ceilings as probes, and the loops they are made of (tools/bench times products beside them).

#include <cstdint>
#include <span>

#include "cpu/fast/thread_pool.h"
#include "device/probe.h"

namespace rl::cpu {

// read_bandwidth, matrix_rate_f32, matrix_rate_bf16, matrix_rate_int8.
std::span<const Probe> probes();

// Every thread reads its consecutive share of the bytes once.
void read_all(ThreadPool& pool, const Arch& arch, const void* data, Bytes bytes);

enum class MatrixRate : std::uint8_t { f32, bf16, int8 };
// Every thread multiplies and adds `rounds` times on a set of accumulators that stay in registers. Returns the
// floating-point (or integer) operations of all threads; a multiply-add counts as two.
double multiply_add(ThreadPool& pool, const Arch& arch, MatrixRate rate, std::int64_t rounds);

// The loops of one instruction set. Null where the program was built for another processor family.
struct ProbeLoops {
  std::uint64_t (*read)(const void* data, std::int64_t bytes);  // a sum that depends on every byte
  void (*multiply_add)(std::int64_t rounds);
  double operations;  // of one round
};
extern const ProbeLoops kProbeAmxBf16, kProbeAmxInt8, kProbePortable, kProbeAvx2, kProbeAvx512, kProbeAvx512Bf16,
    kProbeAvx512Vnni, kProbeAvx2Int8, kProbePortableInt8;

}  // namespace rl::cpu
