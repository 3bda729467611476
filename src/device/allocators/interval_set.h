#pragma once
// A set of addresses as its maximal intervals.

#include <map>
#include <optional>

#include "device/allocators/address_space.h"

namespace rl::alloc {

class IntervalSet {
 public:
  void insert(Extent extent);  // none of it is in the set
  void erase(Extent extent);   // all of it is in the set
  bool contains(Extent extent) const;
  bool meets(Extent extent) const;                             // some of it is in the set
  std::optional<Address> first_fit(std::int64_t bytes) const;  // the lowest address where so many follow
  std::int64_t bytes() const { return bytes_; }
  std::int64_t intervals() const { return static_cast<std::int64_t>(ends_.size()); }

 private:
  std::map<Address, Address> ends_;  // begin -> end; no two meet or touch
  std::int64_t bytes_ = 0;
};

}  // namespace rl::alloc
