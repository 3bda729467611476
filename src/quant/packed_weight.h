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
  // W8A8: the kernel quantises its input as well (num/int8.h, num/fp8.h).
  int8,        // one scale per row, one per token
  fp8,         // e4m3; one scale per row, one per token
  fp8_tensor,  // e4m3; one scale for the matrix (stored per row all the same), one per token
  fp8_block,   // e4m3; one scale per 128 x 128 block, one per 128 columns of a token
  // Weight only: the input stays as it is, one scale per row.
  int8_wo,
  fp8_wo,
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
  //   [rows/64][cols/k][64][k]   with k = 1 (f32), 2 (bf16, f16), 4 (int8, fp8)
  // rows are padded to 64 and cols to 32, with zeros. For bf16 this is byte for byte oneDNN's BA16a64b2a, for int8
  // BA16a64b4a.
  panel64,
};

// How the scales of a weight [rows, cols] lie: one per padded row, or one per block, [ceil(rows/128), ceil(cols/128)].
enum class Scales : std::uint8_t { none, rows, blocks };
constexpr Scales scales_of(Format format) {
  if (format == Format::fp8_block) return Scales::blocks;
  return format == Format::f32 || format == Format::bf16 || format == Format::f16 ? Scales::none : Scales::rows;
}
// Whether the kernel quantises its input.
constexpr bool quantizes_input(Format format) {
  return scales_of(format) != Scales::none && format != Format::int8_wo && format != Format::fp8_wo;
}

constexpr DType element_type(Format format) {
  switch (format) {
    case Format::f32:
      return DType::f32;
    case Format::bf16:
      return DType::bf16;
    case Format::f16:
      return DType::f16;
    case Format::int8:
    case Format::int8_wo:
      return DType::i8;
    case Format::fp8:
    case Format::fp8_tensor:
    case Format::fp8_block:
    case Format::fp8_wo:
      return DType::f8_e4m3;
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
    case Format::fp8:
      return "fp8";
    case Format::fp8_tensor:
      return "fp8-tensor";
    case Format::fp8_block:
      return "fp8-block";
    case Format::int8_wo:
      return "int8-wo";
    case Format::fp8_wo:
      return "fp8-wo";
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
  float* scales = nullptr;                        // as scales_of(format) has it, or null

  explicit operator bool() const { return data != nullptr; }
};

}  // namespace rl::quant
