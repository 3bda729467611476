#pragma once
// Sizes are int64_t products that cannot overflow in silence: a size from a file goes through these.

#include <cstdint>
#include <optional>
#include <span>

namespace rl {

constexpr std::optional<std::int64_t> checked_mul(std::int64_t a, std::int64_t b) {
  std::int64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

constexpr std::optional<std::int64_t> checked_add(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

// The product of all factors. A zero factor does not hide an overflow of the others: {2^62, 4, 0} is refused.
constexpr std::optional<std::int64_t> checked_product(std::span<const std::int64_t> factors) {
  std::int64_t nonzero = 1;
  bool zero = false;
  for (std::int64_t factor : factors) {
    if (factor == 0) {
      zero = true;
      continue;
    }
    const auto next = checked_mul(nonzero, factor);
    if (!next) return std::nullopt;
    nonzero = *next;
  }
  return zero ? 0 : nonzero;
}

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
constexpr std::int64_t round_up(std::int64_t a, std::int64_t multiple) { return ceil_div(a, multiple) * multiple; }

}  // namespace rl
