#pragma once
// Parts of flops() and bytes().

#include "quant/packed_weight.h"
#include "tensor/tensor.h"

namespace rl::ops {

inline double count(const TensorRef& t) { return t ? static_cast<double>(t.elements()) : 0; }
inline double size(const TensorRef& t) { return count(t) * size_of(t.dtype); }

// One row of a weight with its share of the scales, without padding.
inline double bytes_of_row(const quant::PackedWeight& w) {
  const double cols = static_cast<double>(w.cols);
  const quant::Scales scales = quant::scales_of(w.format);
  const double scale_count = scales == quant::Scales::rows     ? 1
                             : scales == quant::Scales::blocks ? cols / (128 * 128)
                                                               : 0;
  return cols * size_of(quant::element_type(w.format)) + scale_count * sizeof(float);
}

}  // namespace rl::ops
