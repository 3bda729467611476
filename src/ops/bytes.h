#pragma once
// Parts of flops() and bytes().

#include "quant/packed_weight.h"
#include "tensor/tensor.h"

namespace rl::ops {

inline double count(const TensorRef& t) { return t ? static_cast<double>(t.elements()) : 0; }
inline double size(const TensorRef& t) { return count(t) * size_of(t.dtype); }

// One row of a weight with its scale, without padding.
inline double bytes_of_row(const quant::PackedWeight& w) {
  return static_cast<double>(w.cols) * size_of(quant::element_type(w.format)) + (w.scales ? sizeof(float) : 0);
}

}  // namespace rl::ops
