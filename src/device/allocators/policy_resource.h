#pragma once
// A policy as a MemoryResource: over a MappedSpace and the expandable policy, an arena whose segments grow.

#include <memory>
#include <mutex>
#include <unordered_map>

#include "device/allocators/policy.h"
#include "device/memory.h"

namespace rl::alloc {

class PolicyResource final : public MemoryResource {
 public:
  // The policy's tensors are contiguous and their addresses the device's: any but `paged`, over a MappedSpace.
  explicit PolicyResource(std::unique_ptr<Policy> policy) : policy_(std::move(policy)) {}
  Result<void*> allocate(Bytes bytes) override;
  void deallocate(void* data, Bytes bytes) noexcept override;
  std::string name() const override { return std::string(policy_->name()) + " allocator"; }
  void trim();
  Usage usage() const;

 private:
  mutable std::mutex mutex_;
  std::unique_ptr<Policy> policy_;
  std::unordered_map<void*, Handle> handles_;
};

}  // namespace rl::alloc
