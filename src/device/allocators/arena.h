#pragma once
// One block for all tensors, planned before the first: sizes and lives are known, offsets follow from them
// (lifetime_plan.h). It is how the engine lays out its activations. What was not planned has no place.

#include <memory>

#include "device/allocators/lifetime_plan.h"
#include "device/allocators/policy.h"

namespace rl::alloc {

class ArenaPolicy final : public Policy {
 public:
  // Value i is that of the i-th call of allocate(), with the largest size it will ever have. Errors: out_of_memory if
  // the plan needs more than the space has.
  static Result<std::unique_ptr<ArenaPolicy>> make(AddressSpace& space, std::vector<Lifetime> values);
  ~ArenaPolicy() override;
  const char* name() const override { return "arena"; }
  Result<Handle> allocate(Bytes bytes) override;
  void free(Handle handle) override;
  void trim() override {}  // the plan stays valid as long as the arena
  std::vector<Extent> extents(Handle handle) const override;
  void check_invariants() const override;

 protected:
  bool grow_in_place(Handle handle, Bytes bytes) override;

 private:
  ArenaPolicy(AddressSpace& space, Extent arena, std::vector<Lifetime> values, LifetimePlan plan);
  std::size_t used(Handle handle) const;  // index of a value in use

  AddressSpace& space_;
  Extent arena_;
  std::vector<Lifetime> values_;
  LifetimePlan plan_;
  std::vector<std::int64_t> requested_;  // of each value; -1: not in use
  std::size_t next_ = 0;
};

}  // namespace rl::alloc
