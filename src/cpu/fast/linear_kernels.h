#pragma once
// What linear.cpp's loops ask of an instruction set: a table of functions per weight format. A file per instruction set
// fills tables in; this header has declarations only, as those files are compiled with flags of their own.
//
// All kernels read panel64 weights (quant/packed_weight.h): a `step` is one 256-byte line of 64 rows, `k_step` columns
// wide. A tile is up to max_rows rows of x times one panel. Each output is one accumulator that walks K in order, step
// by step: the bits of a row do not depend on the tile it is in.

#include <cstdint>

#include "cpu/fast/number.h"

namespace rl::cpu::linear {

inline constexpr std::int64_t kPanelRows = 64;
inline constexpr std::int64_t kLineBytes = 256;
inline constexpr int kMaxTileRows = 16;

// The form in which a kernel reads x.
enum class Input : std::uint8_t {
  f32,
  bf16,
  s16,        // quantised per token to [-127, 127], with a scale; columns 0 2 1 3 of each four
  s8,         // the same in bytes
  u8_biased,  // the same plus 128. Row 0 is constant 128: its product, 128 times the sums of W's rows, is taken off
              // again
};

struct Tile {
  const void* panel;      // first line of these steps
  const void* x;          // row 0 at the first step's columns
  std::int64_t x_stride;  // bytes from row to row
  std::int64_t steps;     // > 0
  void* sums;             // float or int32 [rows][64], 64-byte aligned
  bool resume;            // add to sums rather than start from zero
  // Cache lines to fetch meanwhile, at an even pace: step k asks for lines k * pace / 256 and half a step on. 0: none.
  const void* prefetch;
  std::int64_t prefetch_pace;
};

// The end of a tile: out = sums (* scales) (+ bias) (+ out).
struct Store {
  const void* sums;  // float or int32 [rows][64]
  int rows;
  std::int64_t cols;            // of this panel that exist, 1 .. 64
  const float* bias;            // [cols], or null
  const float* x_scales;        // int8: [rows], of the tokens
  const float* w_scales;        // int8: [64], of this panel's rows
  const std::uint32_t* offset;  // u8_biased: [64], to be taken off the sums, else null
  bool accumulate;
  Number out_type;
  void* out;
  std::int64_t out_stride;  // bytes
};

struct Kernels {
  Input input;
  int k_step;
  int max_rows = 6;
  void (*tile[kMaxTileRows])(const Tile&) = {};  // tile[r - 1] takes r rows, up to max_rows
  void (*store)(const Store&);
  // One row of x (n values) in the form of `input`, padded with zeros to padded_n. Returns the scale
  // of the quantised forms.
  float (*convert)(void* out, const void* x, Number x_type, std::int64_t n, std::int64_t padded_n);
  // Of kernels that take f32, for formats that are emulated (linear_emulated.cpp). Codes of a panel, int8 or e4m3, as
  // floats: [cols / 4][64][4] to [cols][64]; and values = e4m3(values / scale), scale > 0, to the bit as num/fp8.h.
  void (*widen_codes)(const std::uint8_t* codes, std::int64_t cols, bool fp8, float* out) = nullptr;
  void (*round_fp8)(float* values, std::int64_t n, float scale) = nullptr;
  void (*finish)() = nullptr;  // ends a thread's series of tiles; null: there is nothing to end
};

// Null where the program was built for another processor family.
extern const Kernels* const kAmxBf16;     // bf16 weights and x: tiles
extern const Kernels* const kAmxInt8;     // int8: tiles
extern const Kernels* const kAvx512Bf16;  // bf16 weights and x: vdpbf16ps
extern const Kernels* const kAvx512Vnni;  // int8: vpdpbusd
extern const Kernels* const kAvx512F32;   // the rest in float arithmetic
extern const Kernels* const kAvx512WideBf16;
extern const Kernels* const kAvx512F16;
extern const Kernels* const kAvx2F32;
extern const Kernels* const kAvx2Bf16;
extern const Kernels* const kAvx2F16;
extern const Kernels* const kAvx2Int8;
extern const Kernels* const kPortableF32;
extern const Kernels* const kPortableBf16;
extern const Kernels* const kPortableF16;
extern const Kernels* const kPortableInt8;

}  // namespace rl::cpu::linear
