#pragma once
// The oracle: each op as plain loops over double, never optimised. Inputs are read exactly as stored; nothing is
// rounded until the end. Beside each value comes what its tolerance is derived from: the sum of the absolute values of
// the terms. Results are doubles in host memory, also for a chosen subset, so that large shapes can be checked.

#include <array>
#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "ops/catalog.h"
#include "ops/compare.h"
#include "ops/values.h"

namespace rl::cpu::ref {

using ops::Subset;
using ops::Values;

Values embed(const ops::EmbedArgs& args);
Values rms_norm(const ops::RmsNormArgs& args);
Values linear(const ops::LinearArgs& args, const Subset& subset = {});  // int8 weights: the exact W8A8 emulation
struct RopeAppended {
  Values q, k, v;  // [tokens, heads * head_dim], [tokens, kv_heads * head_dim] twice
};
RopeAppended rope_append(const ops::RopeAppendArgs& args);  // writes nothing
// tokens.rows: which; by default those of the sequences, padding tokens left out. A row's cols are all computed.
Values attention(const ops::AttentionArgs& args, const Subset& tokens = {});
Values silu_mul(const ops::SiluMulArgs& args);
// Numbers [rows, cols], rounded to `type`, as codes and scales (ops/codes.h).
void store_codes(const std::vector<double>& numbers, DType type, const TensorRef& codes, const TensorRef& scales);
std::vector<TokenId> sample(const ops::SampleArgs& args);
struct Fed {
  std::vector<std::int32_t> block;  // all words of out, those that stay included
  std::int32_t turn = 0;
};
Fed feed(const ops::FeedArgs& args);
std::array<std::vector<std::int32_t>, 2> deliver(const ops::DeliverArgs& args);  // all words of both outs

// An output of attention at the chosen tokens against the above, within its tolerance: ops::Oracle's function.
ops::Comparison check_attention(const ops::AttentionArgs& args, const std::vector<std::int64_t>& tokens);

// Variants that compute through the functions above and store rounded results: the last entry of every CPU list.
const ops::Catalog& catalog();

}  // namespace rl::cpu::ref
