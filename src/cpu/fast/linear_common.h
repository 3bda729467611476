#pragma once
// The parts of a kernel table that are the same for every instruction set, as plain loops for the compiler to
// vectorise. Included by each linear_<isa>.cpp into its own unnamed namespace: compiled with different flags, these
// functions must not be shared (the linker would keep one copy, perhaps one this processor cannot run).

#include <cstdint>
#include <cstring>

#include "cpu/fast/linear_kernels.h"

namespace rl::cpu::linear {
namespace {

inline std::uint32_t bits_of(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float float_of(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline float widen(std::uint16_t bf16) { return float_of(std::uint32_t{bf16} << 16); }

inline std::uint16_t narrow(float value) {  // round to nearest even, NaN stays NaN
  const std::uint32_t bits = bits_of(value);
  const std::uint32_t rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
  return static_cast<std::uint16_t>((bits & 0x7FFFFFFF) > 0x7F800000 ? (bits >> 16) | 0x40 : rounded);
}

// num/convert.h's conversions of fp16 without branches: see quant/pack.cpp, which has them too (files like this share
// no functions with the rest of the program).
inline float widen_half(std::uint16_t half) {
  const float magnitude = float_of(std::uint32_t{half & 0x7FFFU} << 13) * 0x1p112f;
  const std::uint32_t special = (half & 0x7C00U) == 0x7C00U ? 0x7F800000U : 0U;
  return float_of(bits_of(magnitude) | special | (std::uint32_t{half & 0x8000U} << 16));
}

inline std::uint16_t narrow_half(float value) {
  const std::uint32_t bits = bits_of(value), magnitude = bits & 0x7FFFFFFF;
  const std::uint32_t subnormal = bits_of(float_of(magnitude) + 0.5f) - 0x3F000000;
  const std::uint32_t normal = (magnitude - (112U << 23) + 0xFFF + ((magnitude >> 13) & 1)) >> 13;
  const std::uint32_t nan = 0x7E00 | ((magnitude >> 13) & 0x3FF);
  std::uint32_t half = magnitude < (113U << 23) ? subnormal : normal;
  half = magnitude >= (143U << 23) ? 0x7C00U : half;
  half = magnitude > 0x7F800000 ? nan : half;
  return static_cast<std::uint16_t>(half | ((bits >> 16) & 0x8000));
}

// Elements [0, n) of a row of x as floats.
void widen_row(float* out, const void* x, Number type, std::int64_t n) {
  const auto* const codes = static_cast<const std::uint16_t*>(x);
  switch (type) {
    case Number::f32:
      std::memcpy(out, x, static_cast<std::size_t>(n) * sizeof(float));
      break;
    case Number::bf16:
      for (std::int64_t i = 0; i < n; ++i) out[i] = widen(codes[i]);
      break;
    case Number::f16:
      for (std::int64_t i = 0; i < n; ++i) out[i] = widen_half(codes[i]);
      break;
  }
}

void write_row(const Store& s, int row, const float* values) {
  char* const out = static_cast<char*>(s.out) + row * s.out_stride;
  auto* const codes = reinterpret_cast<std::uint16_t*>(out);
  if (s.out_type == Number::bf16) {
    for (std::int64_t j = 0; j < s.cols; ++j) codes[j] = narrow(values[j]);
  } else if (s.out_type == Number::f16) {
    for (std::int64_t j = 0; j < s.cols; ++j) codes[j] = narrow_half(values[j]);
  } else if (s.accumulate) {
    auto* const floats = reinterpret_cast<float*>(out);
    for (std::int64_t j = 0; j < s.cols; ++j) floats[j] += values[j];
  } else {
    std::memcpy(out, values, static_cast<std::size_t>(s.cols) * sizeof(float));
  }
}

[[maybe_unused]] void store_float(const Store& s) {
  for (int row = 0; row < s.rows; ++row) {
    const float* sums = static_cast<const float*>(s.sums) + row * kPanelRows;
    alignas(64) float values[kPanelRows];
    if (s.bias) {
      for (std::int64_t j = 0; j < s.cols; ++j) values[j] = sums[j] + s.bias[j];
      sums = values;
    }
    write_row(s, row, sums);
  }
}

// The arithmetic of num/int8.h: one rounding to float per step.
[[maybe_unused]] void store_int8(const Store& s) {
  for (int row = 0; row < s.rows; ++row) {
    const auto* const sums = static_cast<const std::uint32_t*>(s.sums) + row * kPanelRows;
    const float x_scale = s.x_scales[row];
    alignas(64) float values[kPanelRows];
    if (s.offset) {
      for (int j = 0; j < kPanelRows; ++j)  // modulo 2^32
        values[j] = static_cast<float>(static_cast<std::int32_t>(sums[j] - s.offset[j])) * x_scale * s.w_scales[j];
    } else {
      for (int j = 0; j < kPanelRows; ++j)
        values[j] = static_cast<float>(static_cast<std::int32_t>(sums[j])) * x_scale * s.w_scales[j];
    }
    if (s.bias)
      for (std::int64_t j = 0; j < s.cols; ++j) values[j] += s.bias[j];
    write_row(s, row, values);
  }
}

[[maybe_unused]] float convert_f32(void* out, const void* x, Number type, std::int64_t n, std::int64_t padded_n) {
  auto* const floats = static_cast<float*>(out);
  widen_row(floats, x, type, n);
  for (std::int64_t i = n; i < padded_n; ++i) floats[i] = 0;
  return 1;
}

// bf16 alone: kernels that read pairs of bf16 are not offered another type of x.
[[maybe_unused]] float convert_bf16(void* out, const void* x, Number, std::int64_t n, std::int64_t padded_n) {
  auto* const codes = static_cast<std::uint16_t*>(out);
  std::memcpy(out, x, static_cast<std::size_t>(n) * sizeof *codes);
  for (std::int64_t i = n; i < padded_n; ++i) codes[i] = 0;
  return 1;
}

// A token's activations as num/int8.h quantises them, plus `bias`. A few at a time as floats, twice: in the first cache
// level.
template <class T>
float quantize(T* out, const void* x, Number type, std::int64_t n, std::int64_t padded_n, int bias) {
  constexpr std::int64_t kPart = 512;
  alignas(64) float part[kPart];
  const auto for_parts = [&](auto&& f) {
    const std::int64_t element = type == Number::f32 ? 4 : 2;
    for (std::int64_t first = 0; first < n; first += kPart) {
      const std::int64_t count = n - first < kPart ? n - first : kPart;
      widen_row(part, static_cast<const char*>(x) + first * element, type, count);
      f(first, count);
    }
  };
  std::uint32_t largest = 0;  // of the magnitudes' bits, which order as the magnitudes do
  for_parts([&](std::int64_t, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
      const std::uint32_t magnitude = bits_of(part[i]) & 0x7FFFFFFF;
      largest = magnitude > largest ? magnitude : largest;
    }
  });
  const float scale = largest < 0x7F800000 ? float_of(largest) / 127.0f : float_of(0x7FC00000);
  if (!(scale > 0)) {
    for (std::int64_t i = 0; i < padded_n; ++i) out[i] = static_cast<T>(bias);
    return scale;
  }
  for_parts([&](std::int64_t first, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
      float ratio = part[i] / scale;
      ratio = ratio < 127.0f ? ratio : 127.0f;
      ratio = ratio > -127.0f ? ratio : -127.0f;
      // Adding 1.5 * 2^23 rounds to nearest even and leaves the integer in the low bits.
      out[first + i] = static_cast<T>(static_cast<std::int32_t>(bits_of(ratio + 0x1.8p23f) - 0x4B400000U) + bias);
    }
  });
  for (std::int64_t i = n; i < padded_n; ++i) out[i] = static_cast<T>(bias);
  return scale;
}

[[maybe_unused]] void widen_codes(const std::uint8_t* codes, std::int64_t cols, bool fp8, float* out) {
  for (std::int64_t col = 0; col < cols; col += 4, codes += 4 * kPanelRows, out += 4 * kPanelRows) {
    std::uint32_t words[kPanelRows];
    std::memcpy(words, codes, sizeof words);
    for (int i = 0; i < 4; ++i) {
      float* const column = out + i * kPanelRows;
      if (fp8) {
        for (int row = 0; row < kPanelRows; ++row) {  // e4m3's exponent has another bias: times 2^120
          const std::uint32_t code = words[row] >> (8 * i), magnitude = code & 0x7F;
          const std::uint32_t bits = bits_of(float_of(magnitude << 20) * 0x1p120f);
          column[row] = float_of((magnitude == 0x7F ? 0x7FC00000U : bits) | (code & 0x80) << 24);
        }
      } else {
        for (int row = 0; row < kPanelRows; ++row)
          column[row] = static_cast<float>(static_cast<std::int32_t>(words[row] << (24 - 8 * i)) >> 24);
      }
    }
  }
}

[[maybe_unused]] void round_fp8(float* values, std::int64_t n, float scale) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float ratio = values[i] / scale;
    float magnitude = float_of(bits_of(ratio) & 0x7FFFFFFF);
    magnitude = magnitude < 448.0f ? magnitude : 448.0f;
    const std::uint32_t bits = bits_of(magnitude);
    const std::uint32_t normal = (bits + 0x7FFFF + ((bits >> 20) & 1)) & 0xFFF00000;
    const float subnormal = (magnitude + 0x1p14f) - 0x1p14f;  // to a multiple of 2^-9
    values[i] = float_of((magnitude < 0x1p-6f ? bits_of(subnormal) : normal) | (bits_of(ratio) & 0x80000000));
  }
}

// The columns of each group of four in the order 0 2 1 3: kernels find the even and the odd bytes of a word at once.
[[maybe_unused]] float convert_s16(void* out, const void* x, Number type, std::int64_t n, std::int64_t padded_n) {
  auto* const codes = static_cast<std::int16_t*>(out);
  const float scale = quantize(codes, x, type, n, padded_n, 0);
  for (std::int64_t i = 0; i < padded_n; i += 4) {
    const std::int16_t second = codes[i + 1];
    codes[i + 1] = codes[i + 2];
    codes[i + 2] = second;
  }
  return scale;
}

[[maybe_unused]] float convert_s8(void* out, const void* x, Number type, std::int64_t n, std::int64_t padded_n) {
  return quantize(static_cast<std::int8_t*>(out), x, type, n, padded_n, 0);
}

[[maybe_unused]] float convert_u8(void* out, const void* x, Number type, std::int64_t n, std::int64_t padded_n) {
  return quantize(static_cast<std::uint8_t*>(out), x, type, n, padded_n, 128);
}

}  // namespace
}  // namespace rl::cpu::linear
