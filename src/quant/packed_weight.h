#pragma once
// A weight matrix W [rows, cols] (rows = outputs, cols = inputs, as checkpoints store it) in the form kernels read it.
// A `.cu` may include this header.

#include <cstdint>
#include <string>

#include "tensor/dtype.h"

namespace rl::quant {

// What the numbers are.
enum class Format : std::uint8_t {
  f32,
  bf16,
  f16,
  int8,  // W8A8: int8 weights with one f32 scale per row; the kernel quantises its input per token
};

// The formats of a model's matrices. Embedding and head keep 16 bits or more where the layers have 8: they are read
// once a token and decide what is said, and every 8-bit recipe of the field leaves them (llm-compressor, DeepSeek-V3).
struct ModelFormat {
  Format layers = Format::bf16;
  Format tables = Format::bf16;  // embedding and head
  friend constexpr bool operator==(const ModelFormat&, const ModelFormat&) = default;
};

// Where they are.
enum class Layout : std::uint8_t {
  row_major,  // [rows, cols]
  // Panels of 64 rows, `k` consecutive cols of one row side by side, so that one 64-byte load holds 16 rows' 4 bytes:
  //   [rows/64][cols/k][64][k]   with k = 1 (f32), 2 (bf16, f16), 4 (int8)
  // rows are padded to 64 and cols to 32, with zeros. For bf16 this is byte for byte oneDNN's BA16a64b2a, for int8
  // BA16a64b4a.
  panel64,
};

constexpr DType element_type(Format format) {
  switch (format) {
    case Format::f32:
      return DType::f32;
    case Format::bf16:
      return DType::bf16;
    case Format::f16:
      return DType::f16;
    case Format::int8:
      return DType::i8;
  }
  return DType::f32;
}
constexpr const char* name_of(Format format) {
  switch (format) {
    case Format::f32:
      return "f32";
    case Format::bf16:
      return "bf16";
    case Format::f16:
      return "f16";
    case Format::int8:
      return "int8";
  }
  return "?";
}
inline std::string describe(const ModelFormat& format) {
  return format.layers == format.tables
             ? name_of(format.layers)
             : std::string(name_of(format.layers)) + " (embedding and head " + name_of(format.tables) + ")";
}
constexpr const char* name_of(Layout layout) { return layout == Layout::panel64 ? "panel64" : "row_major"; }

struct PackedWeight {
  Format format = Format::f32;
  Layout layout = Layout::row_major;
  std::int64_t rows = 0, cols = 0;                // of the matrix
  std::int64_t padded_rows = 0, padded_cols = 0;  // as stored
  void* data = nullptr;                           // padded_rows * padded_cols elements, 64-byte aligned
  float* scales = nullptr;                        // [padded_rows] for int8, else null

  explicit operator bool() const { return data != nullptr; }
};

}  // namespace rl::quant
