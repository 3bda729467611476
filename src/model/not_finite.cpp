#include "model/not_finite.h"

namespace rl::model {
namespace {

// `exponent` is all ones in them. First a look that vector code does without widening, then, where it found one, the
// count.
template <class Bits>
std::int64_t count(const void* data, std::int64_t n, Bits exponent) {
  constexpr std::int64_t kBlock = 4096;
  const auto* bits = static_cast<const Bits*>(data);
  std::int64_t found = 0;
  for (std::int64_t first = 0; first < n; first += kBlock) {
    const std::int64_t last = std::min(n, first + kBlock);
    Bits any = 0;
    for (std::int64_t i = first; i < last; ++i) any |= static_cast<Bits>((bits[i] & exponent) == exponent ? ~0U : 0U);
    if (any == 0) continue;
    for (std::int64_t i = first; i < last; ++i) found += (bits[i] & exponent) == exponent;
  }
  return found;
}

}  // namespace

std::int64_t count_not_finite(const TensorRef& t) {
  switch (t.dtype) {
    case DType::bf16:
      return count<std::uint16_t>(t.data, t.elements(), 0x7F80);
    case DType::f16:
      return count<std::uint16_t>(t.data, t.elements(), 0x7C00);
    default:
      return count<std::uint32_t>(t.data, t.elements(), 0x7F800000);
  }
}

}  // namespace rl::model
