#include "cpu/fast/probes.h"

#if defined(__AMX_BF16__) && defined(__AMX_INT8__)
#include <immintrin.h>

namespace rl::cpu {
namespace {

struct alignas(64) Shapes {  // of linear_amx.cpp
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};

// Four tiles of sums, which hide the latency of the multiply-add; one of each operand, of ones.
template <bool kInt8>
void multiply_add(std::int64_t rounds) {
  Shapes shapes;
  for (int tile = 0; tile < 8; ++tile) shapes.rows[tile] = 16, shapes.row_bytes[tile] = 64;
  _tile_loadconfig(&shapes);
  alignas(64) std::uint16_t ones[16 * 32];
  for (std::uint16_t& two_bytes : ones) two_bytes = kInt8 ? 0x0101 : 0x3F80;
  asm volatile("" : : "r"(ones) : "memory");  // the loads of tiles do not tell the compiler that they read it
  _tile_loadd(4, ones, 64);
  _tile_loadd(5, ones, 64);
  for (std::int64_t i = 0; i < rounds; ++i) {
    if constexpr (kInt8) {
      _tile_dpbssd(0, 4, 5);
      _tile_dpbssd(1, 4, 5);
      _tile_dpbssd(2, 4, 5);
      _tile_dpbssd(3, 4, 5);
    } else {
      _tile_dpbf16ps(0, 4, 5);
      _tile_dpbf16ps(1, 4, 5);
      _tile_dpbf16ps(2, 4, 5);
      _tile_dpbf16ps(3, 4, 5);
    }
  }
  _tile_release();
}

}  // namespace

const ProbeLoops kProbeAmxBf16{.multiply_add = multiply_add<false>, .operations = 4 * 2 * 16 * 16 * 32};
const ProbeLoops kProbeAmxInt8{.multiply_add = multiply_add<true>, .operations = 4 * 2 * 16 * 16 * 64};

}  // namespace rl::cpu
#else
const rl::cpu::ProbeLoops rl::cpu::kProbeAmxBf16{}, rl::cpu::kProbeAmxInt8{};
#endif
