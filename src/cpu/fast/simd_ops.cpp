#include "cpu/fast/simd_ops.h"

#include "device/device.h"

namespace rl::cpu {

const SmallOps& small_ops(const Arch& arch) {
  return arch.avx512 ? kSmallOpsAvx512 : arch.avx2 ? kSmallOpsAvx2 : kSmallOpsPortable;
}

}  // namespace rl::cpu
