#pragma once
// embed: rows of the embedding table.

#include "base/result.h"
#include "quant/packed_weight.h"
#include "tensor/tensor.h"

namespace rl::ops {

struct EmbedArgs {
  TensorRef ids;              // i32 [tokens], each in [0, vocab)
  quant::PackedWeight table;  // [vocab, hidden]; a tied head is the same weight
  TensorRef out;              // f32 [tokens, hidden]: the residual stream
};

Status validate(const EmbedArgs& args);
double flops(const EmbedArgs& args);
double bytes(const EmbedArgs& args);  // the fewest that must move: each input read once, each output written once

}  // namespace rl::ops
