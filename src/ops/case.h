#pragma once
// What the case tables <op>_cases.h share. A case is a shape of an op that tests check and benchmarks time; tables are
// constexpr arrays, so that the shapes we time are the shapes we test.

#include <array>
#include <cstdint>
#include <initializer_list>

#include "tensor/dtype.h"

namespace rl::ops {

enum CaseTag : unsigned {
  kQuick = 1,     // checked by `make test` on every variant
  kSanitize = 2,  // small enough for a run under a sanitizer as well
  kLong = 4,      // large: checked by `make soak` and on a GPU, on a subset of the outputs
};

// Shapes of real models, for cases. Sources: their config.json.
struct ModelShape {
  std::int64_t hidden, ffn, heads, kv_heads, head_dim, vocab;
  constexpr std::int64_t qkv_rows() const { return (heads + 2 * kv_heads) * head_dim; }
};
inline constexpr ModelShape kDemo{256, 768, 4, 2, 64, 4096};
inline constexpr ModelShape kLlama1b{2048, 8192, 32, 8, 64, 128256};    // Llama 3.2 1B
inline constexpr ModelShape kLlama8b{4096, 14336, 32, 8, 128, 128256};  // Llama 3 8B

// What the cases of ops over the KV cache run in: a type of activations, and of the cache.
struct CacheTypes {
  DType activation, cache;
  constexpr CacheTypes(DType both) : activation(both), cache(both) {}  // NOLINT: a type stands for itself
  constexpr CacheTypes(DType a, DType c) : activation(a), cache(c) {}
};
inline constexpr CacheTypes kCacheTypes[] = {DType::f32,
                                             DType::bf16,
                                             DType::f16,
                                             {DType::f32, DType::f8_e4m3},
                                             {DType::bf16, DType::f8_e4m3},
                                             {DType::f16, DType::f8_e4m3}};

// A sequence of a step: q queries at its end, kv tokens in all.
struct SeqShape {
  std::int64_t q = 0, kv = 0;
};

// The sequences of a case: up to 8 shapes, the list of them `repeat` times over.
struct SeqList {
  std::array<SeqShape, 8> shapes{};
  std::int64_t count = 0;
  std::int64_t repeat = 1;

  constexpr SeqList(std::initializer_list<SeqShape> list, std::int64_t times = 1) : repeat(times) {
    for (const SeqShape shape : list) shapes[static_cast<std::size_t>(count++)] = shape;
  }
  constexpr std::int64_t size() const { return count * repeat; }
  constexpr SeqShape operator[](std::int64_t i) const { return shapes[static_cast<std::size_t>(i % count)]; }
  constexpr std::int64_t queries() const {
    std::int64_t n = 0;
    for (std::int64_t i = 0; i < size(); ++i) n += (*this)[i].q;
    return n;
  }
  constexpr std::int64_t longest() const {
    std::int64_t n = 0;
    for (std::int64_t i = 0; i < size(); ++i) n = (*this)[i].kv > n ? (*this)[i].kv : n;
    return n;
  }
  constexpr std::int64_t most_queries() const {
    std::int64_t n = 0;
    for (std::int64_t i = 0; i < size(); ++i) n = (*this)[i].q > n ? (*this)[i].q : n;
    return n;
  }
};

}  // namespace rl::ops
