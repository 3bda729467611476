#pragma once
// Single elements of any type, by way of double: for oracles, comparators and inputs of tests, where plainness counts
// and speed does not.

#include <cmath>
#include <cstdint>

#include "num/convert.h"
#include "tensor/tensor.h"

namespace rl {

// Element `index` of an array of `type`; exact for all types but i64 beyond 2^53.
inline double load_element(DType type, const void* data, std::int64_t index) {
  switch (type) {
    case DType::f32:
      return static_cast<double>(static_cast<const float*>(data)[index]);
    case DType::bf16:
      return static_cast<double>(num::to_float(static_cast<const num::bf16*>(data)[index]));
    case DType::f16:
      return static_cast<double>(num::to_float(static_cast<const num::fp16*>(data)[index]));
    case DType::f8_e4m3:
      return static_cast<double>(num::to_float(static_cast<const num::fp8_e4m3*>(data)[index]));
    case DType::f8_e5m2:
      return static_cast<double>(num::to_float(static_cast<const num::fp8_e5m2*>(data)[index]));
    case DType::i8:
      return static_cast<double>(static_cast<const std::int8_t*>(data)[index]);
    case DType::u8:
      return static_cast<double>(static_cast<const std::uint8_t*>(data)[index]);
    case DType::i32:
      return static_cast<double>(static_cast<const std::int32_t*>(data)[index]);
    case DType::i64:
      return static_cast<double>(static_cast<const std::int64_t*>(data)[index]);
    case DType::f64:
      return static_cast<const double*>(data)[index];
  }
  return std::nan("");
}

// Rounds once, to nearest even (num/convert.h). Floating-point types only; others are left alone.
inline void store_element(DType type, void* data, std::int64_t index, double value) {
  switch (type) {
    case DType::f32:
      static_cast<float*>(data)[index] = static_cast<float>(value);
      break;
    case DType::bf16:
      static_cast<num::bf16*>(data)[index] = num::from_double<num::bf16>(value);
      break;
    case DType::f16:
      static_cast<num::fp16*>(data)[index] = num::from_double<num::fp16>(value);
      break;
    case DType::f8_e4m3:
      static_cast<num::fp8_e4m3*>(data)[index] = num::from_double<num::fp8_e4m3>(value);
      break;
    case DType::f8_e5m2:
      static_cast<num::fp8_e5m2*>(data)[index] = num::from_double<num::fp8_e5m2>(value);
      break;
    case DType::f64:
      static_cast<double*>(data)[index] = value;
      break;
    case DType::i8:
    case DType::u8:
    case DType::i32:
    case DType::i64:
      break;
  }
}

// The distance from 1 to the next larger value of a floating-point type; 0 for integers.
constexpr double eps_of(DType type) {
  switch (type) {
    case DType::f64:
      return 0x1p-52;
    case DType::f32:
      return num::eps<float>();
    case DType::bf16:
      return num::eps<num::bf16>();
    case DType::f16:
      return num::eps<num::fp16>();
    case DType::f8_e4m3:
      return num::eps<num::fp8_e4m3>();
    case DType::f8_e5m2:
      return num::eps<num::fp8_e5m2>();
    case DType::i8:
    case DType::u8:
    case DType::i32:
    case DType::i64:
      break;
  }
  return 0;
}

// The smallest positive value of a floating-point type: half of it is lost where a result vanishes.
constexpr double smallest_of(DType type) {
  switch (type) {
    case DType::f64:
      return 0x1p-1074;
    case DType::f32:
      return 0x1p-149;
    case DType::bf16:
      return 0x1p-133;
    case DType::f16:
      return 0x1p-24;
    case DType::f8_e4m3:
      return 0x1p-9;
    case DType::f8_e5m2:
      return 0x1p-16;
    case DType::i8:
    case DType::u8:
    case DType::i32:
    case DType::i64:
      break;
  }
  return 0;
}

}  // namespace rl
