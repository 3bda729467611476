#include "device/allocators/resource_policy.h"

#include "base/checked.h"

namespace rl::alloc {

ResourcePolicy::~ResourcePolicy() {
  for (const auto& [address, block] : blocks_) resource_.deallocate(reinterpret_cast<void*>(address), {block.bytes});
  if (hooks_.trim) (void)hooks_.trim();
}

// Only at a trim: asking the driver at each call would take as long as the call.
void ResourcePolicy::read_reserved() {
  // What cannot be read stays as it was: the next call of the device says what is wrong with it.
  if (const auto now = hooks_.reserved()) add_reserved(now->count - usage().reserved.count);
}

void ResourcePolicy::add(std::int64_t bytes, std::int64_t requested) {
  add_used(bytes, requested);
  if (!hooks_.reserved) add_reserved(bytes);
}

Result<Handle> ResourcePolicy::allocate(Bytes bytes) {
  // Whole pages: the driver may put two small ones into one page, and then neither could grow in it.
  const std::int64_t size = round_up(std::max<std::int64_t>(bytes.count, 1), page_);
  if (Bytes{size} > capacity_ - usage().allocated) return out_of_memory(name_, size, capacity_ - usage().allocated);
  ++calls_;
  RL_ASSIGN(void* const data, resource_.allocate({size}));
  const auto address = reinterpret_cast<Handle>(data);
  blocks_.emplace(address, Block{size, bytes.count});
  add(size, bytes.count);
  return address;
}

void ResourcePolicy::free(Handle handle) {
  const auto found = blocks_.find(handle);
  RL_CHECK(found != blocks_.end());
  const Block block = found->second;
  blocks_.erase(found);
  ++calls_;
  resource_.deallocate(reinterpret_cast<void*>(handle), {block.bytes});
  add(-block.bytes, -block.requested);
}

bool ResourcePolicy::grow_in_place(Handle handle, Bytes bytes) {
  Block& block = blocks_.at(handle);
  if (bytes.count > block.bytes) return false;
  add(0, bytes.count - block.requested);
  block.requested = bytes.count;
  return true;
}

void ResourcePolicy::trim() {
  if (!hooks_.reserved) return;
  read_reserved();  // for the peak
  if (hooks_.trim) (void)hooks_.trim();
  read_reserved();
}

std::vector<Extent> ResourcePolicy::extents(Handle handle) const { return {{handle, blocks_.at(handle).bytes}}; }

void ResourcePolicy::check_invariants() const {
  std::int64_t allocated = 0, requested = 0;
  for (const auto& [address, block] : blocks_) {
    allocated += block.bytes;
    requested += block.requested;
    RL_CHECK(block.requested <= block.bytes);
  }
  RL_CHECK(usage().allocated.count == allocated && usage().requested.count == requested);
}

}  // namespace rl::alloc
