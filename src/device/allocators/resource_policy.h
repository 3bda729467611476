#pragma once
// A MemoryResource as a policy: every tensor is an allocation of it. The driver's own allocators stand beside ours so.

#include <functional>
#include <unordered_map>

#include "device/allocators/policy.h"
#include "device/memory.h"

namespace rl::alloc {

// What a resource that keeps memory does beyond allocations. Both are empty for one that keeps none.
struct ResourceHooks {
  std::function<Status()> trim;             // gives back what it keeps
  std::function<Result<Bytes>()> reserved;  // what it holds of the device
};

class ResourcePolicy final : public Policy {
 public:
  // page: of the device. The policy asks for no more than `capacity` in whole pages.
  ResourcePolicy(const char* name, MemoryResource& resource, std::int64_t page, Bytes capacity, ResourceHooks hooks)
      : name_(name), resource_(resource), page_(page), capacity_(capacity), hooks_(std::move(hooks)) {}
  ~ResourcePolicy() override;
  const char* name() const override { return name_; }
  Result<Handle> allocate(Bytes bytes) override;
  void free(Handle handle) override;
  void trim() override;
  std::vector<Extent> extents(Handle handle) const override;
  void check_invariants() const override;
  std::int64_t calls() const { return calls_; }  // of the resource

 protected:
  bool grow_in_place(Handle handle, Bytes bytes) override;

 private:
  struct Block {
    std::int64_t bytes = 0, requested = 0;
  };
  void read_reserved();
  void add(std::int64_t bytes, std::int64_t requested);

  const char* name_;
  MemoryResource& resource_;
  std::int64_t page_;
  Bytes capacity_;
  ResourceHooks hooks_;
  std::unordered_map<Handle, Block> blocks_;  // by address
  std::int64_t calls_ = 0;
};

}  // namespace rl::alloc
