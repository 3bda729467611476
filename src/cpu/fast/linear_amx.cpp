// bf16 x bf16 -> f32 and int8 x int8 -> int32 on AMX tiles: up to 16 rows of x times 16 rows of W and a line of 64
// bytes of each, per instruction. A panel's lines are what the tiles ask of W as they are: 16 lines, 64 of their 256
// bytes, make a tile of it. bf16 sums take even and odd columns of 32 apart, round to nearest and take subnormals for
// zero (Intel SDM, vol. 2, TDPBF16PS); int8 sums are exact.
//
// Reached on 2 cores of a Xeon (tools/bench/linear_bench.cpp, W cold, 2048x2048 and 2048x8192): 78-84% of the read loop
// at 1 row and 72-78% at 16, 58% without the prefetches; 0.6 to 0.87 of 3.4 TFLOP/s at 512 rows, where vdpbf16ps, at
// half the rate of f32 there, reaches 0.13. Tried and lost: x by groups of columns, so that a tile's rows lie side by
// side and not pages apart, and x prefetched (the same within the noise).

#include "cpu/fast/linear_common.h"

#if defined(__AMX_BF16__) && defined(__AMX_INT8__)
#include <immintrin.h>

namespace rl::cpu::linear {
namespace {

constexpr int kTileRows = 16, kTileBytes = 64;
constexpr std::int64_t kTileSteps = 16;  // lines of a panel in a tile of W

// Tiles 0 to 3 hold the sums of 16 rows of W each, 4 takes x and 5 takes W. 6 and 7 are 4 and 5 for what is left of the
// steps. palette 1: 8 tiles (Intel SDM, vol. 1, chapter 18).
struct alignas(64) Shapes {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};

// The shapes this thread's tiles have, rows * 16 + rest; 0: none. Setting them costs about a third of a tile's work.
thread_local int shapes_set = 0;

void set_shapes(int rows, int rest) {
  const int wanted = rows * 16 + rest;
  if (shapes_set == wanted) return;
  Shapes shapes;
  const auto set = [&](int tile, int tile_rows, int row_bytes) {
    shapes.rows[tile] = static_cast<std::uint8_t>(tile_rows);
    shapes.row_bytes[tile] = static_cast<std::uint16_t>(row_bytes);
  };
  for (int sums = 0; sums < 4; ++sums) set(sums, rows, kTileBytes);
  set(4, rows, kTileBytes);
  set(5, kTileRows, kTileBytes);
  if (rest > 0) {
    set(6, rows, 4 * rest);
    set(7, rest, kTileBytes);
  }
  _tile_loadconfig(&shapes);
  shapes_set = wanted;
}

// Tiles in use make switches of threads slower.
void finish() {
  if (shapes_set == 0) return;
  _tile_release();
  shapes_set = 0;
}

constexpr std::int64_t kAhead = 8192;  // bytes of W, in a stream of one tile

enum class Codes { bf16, int8 };

template <Codes kCodes, int kRows>
void tile(const Tile& t) {
  const std::int64_t rest = t.steps % kTileSteps, whole = t.steps - rest;
  set_shapes(kRows, static_cast<int>(rest));
  char* const sums = static_cast<char*>(t.sums);
  if (t.resume) {
    _tile_loadd(0, sums, kLineBytes);
    _tile_loadd(1, sums + kTileBytes, kLineBytes);
    _tile_loadd(2, sums + 2 * kTileBytes, kLineBytes);
    _tile_loadd(3, sums + 3 * kTileBytes, kLineBytes);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  // The intrinsics want constants for tiles.
#define RL_MULTIPLY_ADD(sum, x, w)     \
  if constexpr (kCodes == Codes::bf16) \
    _tile_dpbf16ps(sum, x, w);         \
  else                                 \
    _tile_dpbssd(sum, x, w)
#define RL_STEP(x, w)                                 \
  _tile_loadd(x, codes, t.x_stride);                  \
  _tile_loadd(w, panel, kLineBytes);                  \
  RL_MULTIPLY_ADD(0, x, w);                           \
  _tile_loadd(w, panel + kTileBytes, kLineBytes);     \
  RL_MULTIPLY_ADD(1, x, w);                           \
  _tile_loadd(w, panel + 2 * kTileBytes, kLineBytes); \
  RL_MULTIPLY_ADD(2, x, w);                           \
  _tile_loadd(w, panel + 3 * kTileBytes, kLineBytes); \
  RL_MULTIPLY_ADD(3, x, w)
  const char *codes = static_cast<const char*>(t.x), *panel = static_cast<const char*>(t.panel);
  const char* ahead = static_cast<const char*>(t.prefetch);
  std::int64_t pace = 0;
  for (std::int64_t k = 0; k < whole; k += kTileSteps, codes += kTileBytes, panel += kTileSteps * kLineBytes) {
    if (ahead) {
      for (pace += kTileSteps * t.prefetch_pace; pace >= 256; pace -= 256, ahead += 64) __builtin_prefetch(ahead, 0, 2);
    } else {
      for (std::int64_t line = 0; line < kTileSteps * kLineBytes; line += 64) __builtin_prefetch(panel + kAhead + line);
    }
    RL_STEP(4, 5);
  }
  if (rest > 0) {
    RL_STEP(6, 7);
  }
#undef RL_STEP
#undef RL_MULTIPLY_ADD
  _tile_stored(0, sums, kLineBytes);
  _tile_stored(1, sums + kTileBytes, kLineBytes);
  _tile_stored(2, sums + 2 * kTileBytes, kLineBytes);
  _tile_stored(3, sums + 3 * kTileBytes, kLineBytes);
}

template <Codes kCodes>
constexpr Kernels table(Input input, int k_step) {
  return {.input = input,
          .k_step = k_step,
          .max_rows = kTileRows,
          .tile = {tile<kCodes, 1>, tile<kCodes, 2>, tile<kCodes, 3>, tile<kCodes, 4>, tile<kCodes, 5>, tile<kCodes, 6>,
                   tile<kCodes, 7>, tile<kCodes, 8>, tile<kCodes, 9>, tile<kCodes, 10>, tile<kCodes, 11>,
                   tile<kCodes, 12>, tile<kCodes, 13>, tile<kCodes, 14>, tile<kCodes, 15>, tile<kCodes, 16>},
          .store = kCodes == Codes::bf16 ? store_float : store_int8,
          .convert = kCodes == Codes::bf16 ? convert_bf16 : convert_s8,
          .finish = finish};
}
constexpr Kernels kBf16 = table<Codes::bf16>(Input::bf16, 2), kInt8 = table<Codes::int8>(Input::s8, 4);

}  // namespace

const Kernels* const kAmxBf16 = &kBf16;
const Kernels* const kAmxInt8 = &kInt8;

}  // namespace rl::cpu::linear
#else
namespace rl::cpu::linear {
const Kernels* const kAmxBf16 = nullptr;
const Kernels* const kAmxInt8 = nullptr;
}  // namespace rl::cpu::linear
#endif
