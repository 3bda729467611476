#pragma once
// Every tensor is an allocation of the driver, rounded up to its pages. Nothing is kept: what is freed goes back at
// once. It cannot fragment above a page, but each call is a call of the driver, which on a GPU waits for the device.

#include <unordered_map>

#include "device/allocators/policy.h"

namespace rl::alloc {

class DirectPolicy final : public Policy {
 public:
  explicit DirectPolicy(AddressSpace& space) : space_(space) {}
  ~DirectPolicy() override;
  const char* name() const override { return "direct"; }
  Result<Handle> allocate(Bytes bytes) override;
  void free(Handle handle) override;
  void trim() override {}
  std::vector<Extent> extents(Handle handle) const override { return {blocks_.at(handle).extent}; }
  void check_invariants() const override;

 protected:
  bool grow_in_place(Handle handle, Bytes bytes) override;

 private:
  struct Block {
    Extent extent;
    std::int64_t requested = 0;
  };
  AddressSpace& space_;
  std::unordered_map<Handle, Block> blocks_;  // by address
};

}  // namespace rl::alloc
