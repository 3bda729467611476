#pragma once
// The oracle: each op as plain loops over double, never optimised. Inputs are read exactly as stored; nothing is
// rounded until the end. Beside each value comes what its tolerance is derived from: the sum of the absolute values of
// the terms. Results are doubles in host memory, also for a chosen subset, so that large shapes can be checked.

#include <cstdint>
#include <span>
#include <vector>

#include "ops/catalog.h"

namespace rl::cpu::ref {

struct Values {
  std::vector<double> value;  // row-major
  std::vector<double>
      abs_terms;  // per element, the sum of |term| of the accumulations that made it (its rounding scale)
};

// Subsets: indices to compute; empty means all.
struct Subset {
  std::vector<std::int64_t> rows, cols;
};

Values embed(const ops::EmbedArgs& args);
Values rms_norm(const ops::RmsNormArgs& args);
Values linear(const ops::LinearArgs& args, const Subset& subset = {});  // int8 weights: the exact W8A8 emulation
struct RopeAppended {
  Values q, k, v;  // [tokens, heads * head_dim], [tokens, kv_heads * head_dim] twice
};
RopeAppended rope_append(const ops::RopeAppendArgs& args);  // writes nothing
Values attention(const ops::AttentionArgs& args, const Subset& tokens = {});
Values silu_mul(const ops::SiluMulArgs& args);
std::vector<TokenId> sample(const ops::SampleArgs& args);

// Variants that compute through the functions above and store rounded results: the last entry of every CPU list.
const ops::Catalog& catalog();

}  // namespace rl::cpu::ref
