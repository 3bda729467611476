#pragma once
// Activations as 8-bit codes: what the op before a W8A8 product writes in place of 16-bit numbers, so that the product
// need not quantise its input. Codes and scales are those of num/int8.h and num/fp8.h, of the activation as it would
// have been stored.

#include "base/result.h"
#include "quant/packed_weight.h"
#include "tensor/tensor.h"

namespace rl::ops {

// What the activation would have been stored as, and the format of the weights it meets.
struct CodedType {
  DType rounded;
  quant::Format format;
};
inline constexpr CodedType kCodedTypes[] = {
    {DType::bf16, quant::Format::int8},      {DType::bf16, quant::Format::fp8}, {DType::bf16, quant::Format::fp8_block},
    {DType::f16, quant::Format::int8},       {DType::f16, quant::Format::fp8},  {DType::f32, quant::Format::int8},
    {DType::f32, quant::Format::fp8_tensor},
};

constexpr bool are_codes(DType type) { return type == DType::i8 || type == DType::f8_e4m3; }

// Scales of a row of `cols` codes: one, or one to 128 columns.
constexpr std::int64_t scale_groups(quant::Format format, std::int64_t cols) {
  return quant::scales_of(format) == quant::Scales::blocks ? (cols + 127) / 128 : 1;
}
// Columns that share a scale, by the number of scales.
constexpr std::int64_t group_cols(std::int64_t cols, std::int64_t groups) { return groups == 1 ? cols : 128; }

// Of an op's output: scales, f32 [rows, groups], if and only if `out` [rows, cols] is codes. Errors: invalid_input with
// rule "<op>.scales.<rule>".
Status check_scales(const char* op, const TensorRef& out, const TensorRef& scales);

}  // namespace rl::ops
