#pragma once
// rms_norm: out[i, :] = x[r, :] / sqrt(mean(x[r, :]^2) + eps) * weight, r = rows[i] if rows is given, else i.
// Zhang and Sennrich, 2019 (arXiv 1910.07467).

#include "base/result.h"
#include "tensor/tensor.h"

namespace rl::ops {

struct RmsNormArgs {
  TensorRef x;       // f32 [tokens, hidden]
  TensorRef weight;  // f32 [hidden]
  TensorRef rows;    // i32 [n], or null: the rows of x to normalise, for the head
  float eps = 1e-5f;
  TensorRef out;                // f32, bf16 or f16 [n or tokens, hidden], or codes (ops/codes.h)
  TensorRef scales;             // of codes: f32 [n or tokens, groups]; else null
  DType rounded = DType::bf16;  // of codes: f32, bf16 or f16, what the elements are rounded to first
};

Status validate(const RmsNormArgs& args);
double flops(const RmsNormArgs& args);
double bytes(const RmsNormArgs& args);

}  // namespace rl::ops
