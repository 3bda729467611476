#pragma once
// silu_mul: out = silu(gate) * up, silu(x) = x / (1 + exp(-x)).

#include "base/result.h"
#include "tensor/tensor.h"

namespace rl::ops {

struct SiluMulArgs {
  TensorRef gate_up;  // f32, bf16 or f16 [tokens, 2 * ffn]: gate, then up
  TensorRef out;      // [tokens, ffn] of the same type, or codes (ops/codes.h) of numbers of that type
  TensorRef scales;   // of codes: f32 [tokens, groups]; else null
};

Status validate(const SiluMulArgs& args);
double flops(const SiluMulArgs& args);
double bytes(const SiluMulArgs& args);

}  // namespace rl::ops
