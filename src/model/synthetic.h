#pragma once
// Models of real shapes with generated weights: for speed without a download. What they say means nothing.

#include <string>

#include "model/model.h"

namespace rl::model {

// A model of any config whose weights are generated. Element i of a tensor is a function of (seed, tensor name, i)
// alone, stored as bf16, so that a saved copy holds the very same numbers. Their scale keeps activations sane:
//   projections      variance 1/inputs: outputs as large as inputs
//   o_proj, down_proj  variance 1/(2 layers inputs), so that the residual stream grows to about 1 over all layers
//   embedding, head  variance 1/hidden: logits of variance 1, also with a tied head
//   norms            1 + 0.1 normal; biases 0.1 normal
// Errors: those of check_config.
Result<ModelSource> synthetic_model(std::string name, const ModelConfig& config, std::uint64_t seed = 1);

// The model after "synthetic:". Errors: invalid_input for a name that is not one, with the list.
Result<ModelSource> synthetic_named(const std::string& name);

// Elements [first, first + n) of the tensor `stream`: bf16 codes of offset + scale * x, where x is near the standard
// normal distribution (the sum of the four bytes of a hashed counter, as num::normal4; |x| < 3.46). 3.7 GB/s per core
// measured on an EPYC in plain SSE2, 5 times Philox, which gives the keys of each 2^16 elements.
void generate_bf16(std::uint64_t seed, std::uint64_t stream, std::int64_t first, std::int64_t n, float scale,
                   float offset, std::uint16_t* out);

}  // namespace rl::model
