#pragma once
// TensorRef: where a tensor's elements are, without owning them. A plain struct that kernels take by value; a `.cu` may
// include this header.

#include <cassert>
#include <cstdint>
#include <initializer_list>
#include <type_traits>

#include "num/formats.h"
#include "tensor/dtype.h"

namespace rl {

template <class T>
inline constexpr DType kDTypeOf = DType::u8;
template <>
inline constexpr DType kDTypeOf<float> = DType::f32;
template <>
inline constexpr DType kDTypeOf<double> = DType::f64;
template <>
inline constexpr DType kDTypeOf<num::bf16> = DType::bf16;
template <>
inline constexpr DType kDTypeOf<num::fp16> = DType::f16;
template <>
inline constexpr DType kDTypeOf<num::fp8_e4m3> = DType::f8_e4m3;
template <>
inline constexpr DType kDTypeOf<num::fp8_e5m2> = DType::f8_e5m2;
template <>
inline constexpr DType kDTypeOf<std::int8_t> = DType::i8;
template <>
inline constexpr DType kDTypeOf<std::int32_t> = DType::i32;
template <>
inline constexpr DType kDTypeOf<std::int64_t> = DType::i64;

struct TensorRef {
  static constexpr int kMaxRank = 5;

  DType dtype = DType::f32;
  int rank = 0;
  void* data = nullptr;
  std::int64_t shape[kMaxRank] = {};
  std::int64_t strides[kMaxRank] = {};  // in elements

  std::int64_t elements() const {
    std::int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= shape[i];
    return n;
  }
  bool contiguous() const {
    std::int64_t expected = 1;
    for (int i = rank - 1; i >= 0; --i) {
      if (shape[i] != 1 && strides[i] != expected) return false;
      expected *= shape[i];
    }
    return true;
  }
  explicit operator bool() const { return data != nullptr; }

  // The elements as T, which must be the dtype's type (const T for reading).
  template <class T>
  T* as() const {
    assert(kDTypeOf<std::remove_const_t<T>> == dtype);
    return static_cast<T*>(data);
  }
};

// A contiguous tensor over existing memory.
inline TensorRef tensor(void* data, DType dtype, std::initializer_list<std::int64_t> shape) {
  TensorRef t{.dtype = dtype, .rank = static_cast<int>(shape.size()), .data = data};
  int i = 0;
  for (std::int64_t n : shape) t.shape[i++] = n;
  std::int64_t stride = 1;
  for (i = t.rank - 1; i >= 0; --i) {
    t.strides[i] = stride;
    stride *= t.shape[i];
  }
  return t;
}
template <class T>
TensorRef tensor(T* data, std::initializer_list<std::int64_t> shape) {
  return tensor(const_cast<std::remove_const_t<T>*>(data), kDTypeOf<std::remove_const_t<T>>, shape);
}

}  // namespace rl
