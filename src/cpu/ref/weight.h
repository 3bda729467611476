#pragma once
// Elements of packed weights by the definition of the layouts, apart from the code that packs them.

#include <cstdint>

#include "quant/packed_weight.h"
#include "tensor/element.h"

namespace rl::cpu::ref {

// Where element (row, col) lies, by the layout's index formula.
inline std::int64_t offset_of(const quant::PackedWeight& w, std::int64_t row, std::int64_t col) {
  if (w.layout == quant::Layout::row_major) return row * w.padded_cols + col;
  const std::int64_t k = 4 / size_of(quant::element_type(w.format));
  return ((row / 64 * (w.padded_cols / k) + col / k) * 64 + row % 64) * k + col % k;
}

// The element as stored: of int8 the integer, without its scale.
inline double element(const quant::PackedWeight& w, std::int64_t row, std::int64_t col) {
  return load_element(quant::element_type(w.format), w.data, offset_of(w, row, col));
}

}  // namespace rl::cpu::ref
