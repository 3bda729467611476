#pragma once
// Identifiers that cannot be mixed up.

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace rl {

template <class Tag, class Rep = std::int32_t>
struct Id {
  Rep value = -1;
  friend constexpr auto operator<=>(Id, Id) = default;
};

using RequestId = Id<struct RequestTag, std::int64_t>;
using PageId = Id<struct PageTag>;
using DeviceId = Id<struct DeviceTag>;

// Token ids stay plain: they live in long arrays that kernels read.
using TokenId = std::int32_t;

}  // namespace rl

template <class Tag, class Rep>
struct std::hash<rl::Id<Tag, Rep>> {
  std::size_t operator()(rl::Id<Tag, Rep> id) const noexcept { return std::hash<Rep>{}(id.value); }
};
