#include "device/allocators/interval_set.h"

#include <iterator>

namespace rl::alloc {

void IntervalSet::insert(Extent extent) {
  if (extent.bytes == 0) return;
  RL_CHECK(extent.bytes > 0 && !meets(extent));
  bytes_ += extent.bytes;
  auto next = ends_.lower_bound(extent.address);
  Address end = extent.end();
  if (next != ends_.end() && next->first == end) {
    end = next->second;
    next = ends_.erase(next);
  }
  if (next != ends_.begin() && std::prev(next)->second == extent.address) {
    std::prev(next)->second = end;
  } else {
    ends_.emplace_hint(next, extent.address, end);
  }
}

void IntervalSet::erase(Extent extent) {
  if (extent.bytes == 0) return;
  RL_CHECK(contains(extent));
  bytes_ -= extent.bytes;
  const auto at = std::prev(ends_.upper_bound(extent.address));
  const Address end = at->second;
  if (at->first == extent.address) {
    ends_.erase(at);
  } else {
    at->second = extent.address;
  }
  if (extent.end() < end) ends_.emplace(extent.end(), end);
}

bool IntervalSet::contains(Extent extent) const {
  const auto after = ends_.upper_bound(extent.address);
  return after != ends_.begin() && std::prev(after)->second >= extent.end();
}

bool IntervalSet::meets(Extent extent) const {
  const auto after = ends_.lower_bound(extent.end());
  return after != ends_.begin() && std::prev(after)->second > extent.address;
}

std::optional<Address> IntervalSet::first_fit(std::int64_t bytes) const {
  for (const auto& [begin, end] : ends_)
    if (end - begin >= bytes) return begin;
  return std::nullopt;
}

}  // namespace rl::alloc
