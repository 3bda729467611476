#pragma once
// Making PackedWeights from rows of a checkpoint.

#include "base/result.h"
#include "base/units.h"
#include "quant/packed_weight.h"
#include "tensor/tensor.h"

namespace rl::quant {

// Bytes of a packed [rows, cols] weight: data and scales, each padded to kAlignment. Errors: invalid_input if a size
// overflows or is not positive.
struct PackedSize {
  std::int64_t padded_rows = 0, padded_cols = 0;
  Bytes data, scales;
};
Result<PackedSize> packed_size(Format format, Layout layout, std::int64_t rows, std::int64_t cols);

// Writes source rows [n, cols] (f32, bf16 or f16, contiguous) to rows [first_row, first_row + n) of `weight`,
// converting to its format (num/convert.h; codes and scales of 8 bits: num/int8.h, num/fp8.h). Does not touch other
// rows, so that q, k and v can be packed one after the other into one weight and threads can pack disjoint ranges of
// rows. Padding is written by zero_padding, once.
void pack_rows(const PackedWeight& weight, std::int64_t first_row, const TensorRef& source);
void zero_padding(const PackedWeight& weight);

// Formats whose scales depend on several rows (fp8_tensor, fp8_block) are packed in two passes: begin_scales once,
// observe_rows over all rows, in any order and from any thread, finish_scales once; then pack_rows.
constexpr bool scales_span_rows(Format format) { return format == Format::fp8_tensor || format == Format::fp8_block; }
void begin_scales(const PackedWeight& weight);
void observe_rows(const PackedWeight& weight, std::int64_t first_row, const TensorRef& source);
void finish_scales(const PackedWeight& weight);

// Row `row` of the weight as floats (8-bit codes times their scale) into out [cols]: for embeddings, tests and error
// metrics.
void unpack_row(const PackedWeight& weight, std::int64_t row, float* out);

}  // namespace rl::quant
