#pragma once
// linear: out = x W^T + bias, or out += x W^T + bias (the residual stream). x and W count as stored: neither is rounded
// to the other's type, and sums are at least float. With W8A8 weights the input is quantised too: the arithmetic of
// int8 is that of num/int8.h, to the bit; fp8's is that of num/fp8.h, where hardware may sum in another order. An op
// before it may have done that already: x is then codes (ops/codes.h).

#include "base/result.h"
#include "quant/packed_weight.h"
#include "tensor/tensor.h"

namespace rl::ops {

struct LinearArgs {
  TensorRef x;                 // f32, bf16 or f16 [tokens, cols], or codes for W8A8; rows may be strided
  TensorRef x_scales;          // of codes: f32 [tokens, groups]; else null
  quant::PackedWeight weight;  // [rows, cols]
  TensorRef bias;              // f32 [rows], or null
  bool accumulate = false;     // add to out, which is then f32
  TensorRef out;               // f32, bf16 or f16 [tokens, rows]
};

Status validate(const LinearArgs& args);
double flops(const LinearArgs& args);
double bytes(const LinearArgs& args);

}  // namespace rl::ops
