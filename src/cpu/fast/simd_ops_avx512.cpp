#include "cpu/fast/simd_ops_entries.h"

namespace rl::cpu {
const SmallOps kSmallOpsAvx512 = kSmallOpsEntries;
}
