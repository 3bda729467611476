#pragma once
// Rows of a small op shared out to the pool's threads.

#include <algorithm>

#include "cpu/fast/cpu_device.h"
#include "cpu/fast/simd_ops.h"

namespace rl::cpu {

// Below this many elements (some 5 us) an op stays on the calling thread: the pool is not woken.
inline constexpr std::int64_t kSerialElements = 1 << 15;

// f(first, last) over rows [0, rows) of `elements` elements each. Rows are computed one by one, so their bits do not
// depend on how they are shared out.
template <class F>
void for_rows(Stream& stream, std::int64_t rows, std::int64_t elements, F&& f) {
  const std::int64_t grain = std::max<std::int64_t>(1, kSerialElements / std::max<std::int64_t>(1, elements));
  static_cast<CpuStream&>(stream).pool().parallel_for(rows, grain, f);
}

inline const SmallOps& small_ops(Stream& stream) { return small_ops(static_cast<CpuStream&>(stream).arch()); }

// Every shape that is valid, on any processor: the kernels' instruction set is chosen when they run.
template <class Args>
Status supports_any_cpu(const Args&, const Arch& arch) {
  if (arch.family == Arch::Family::cpu) return ok();
  return Error{.kind = ErrorKind::unsupported, .what = "runs on a CPU"};
}
// The CPU's products quantise their input as they lay it out for their tiles.
inline Error no_codes() {
  return {.kind = ErrorKind::unsupported,
          .what = "writes and reads no codes: products quantise their input themselves"};
}
template <class Args>
Bytes no_workspace(const Args&) {
  return {};
}

inline constexpr ops::Facts kRowFacts{.deterministic = true, .batch_invariant = true};

}  // namespace rl::cpu
