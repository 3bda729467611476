#include "cpu/fast/attention_entries.h"

namespace rl::cpu {
const AttentionKernels kAttentionAvx2 = kAttentionEntries;
}
