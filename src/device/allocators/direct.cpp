#include "device/allocators/direct.h"

#include "base/checked.h"

namespace rl::alloc {

DirectPolicy::~DirectPolicy() {
  for (const auto& [address, block] : blocks_) {
    space_.unmap(block.extent);
    space_.release(block.extent);
  }
}

Result<Handle> DirectPolicy::allocate(Bytes bytes) {
  const std::int64_t size = round_up(std::max<std::int64_t>(bytes.count, 1), space_.granularity());
  RL_ASSIGN(const Extent extent, space_.reserve(size));
  if (const Status mapped = space_.map(extent); !mapped) {
    space_.release(extent);
    if (mapped.error().kind != ErrorKind::out_of_memory) return mapped.error();
    return out_of_memory(name(), size, space_.free());
  }
  blocks_.emplace(extent.address, Block{extent, bytes.count});
  add_reserved(size);
  add_used(size, bytes.count);
  return extent.address;
}

void DirectPolicy::free(Handle handle) {
  const auto found = blocks_.find(handle);
  RL_CHECK(found != blocks_.end());
  const Block block = found->second;
  blocks_.erase(found);
  space_.unmap(block.extent);
  space_.release(block.extent);
  add_reserved(-block.extent.bytes);
  add_used(-block.extent.bytes, -block.requested);
}

bool DirectPolicy::grow_in_place(Handle handle, Bytes bytes) {
  Block& block = blocks_.at(handle);
  if (bytes.count > block.extent.bytes) return false;
  add_used(0, bytes.count - block.requested);
  block.requested = bytes.count;
  return true;
}

void DirectPolicy::check_invariants() const {
  std::int64_t allocated = 0, requested = 0;
  for (const auto& [address, block] : blocks_) {
    allocated += block.extent.bytes;
    requested += block.requested;
    RL_CHECK(address == block.extent.address && block.requested <= block.extent.bytes);
  }
  RL_CHECK(usage().allocated.count == allocated && usage().requested.count == requested);
  RL_CHECK(usage().reserved == usage().allocated);
}

}  // namespace rl::alloc
