#include "device/allocators/policy_resource.h"

namespace rl::alloc {

Result<void*> PolicyResource::allocate(Bytes bytes) {
  // No device has more addresses; below it no rounding up overflows.
  constexpr Bytes kMost{std::int64_t{1} << 47};
  if (bytes.count < 0 || bytes > kMost)
    return Error{.kind = ErrorKind::out_of_memory,
                 .what = fmt::format("the {} has no such size", name()),
                 .found = fmt::format("{} bytes", bytes.count)};
  const std::lock_guard lock(mutex_);
  RL_ASSIGN(const Handle handle, policy_->allocate(bytes));
  const std::vector<Extent> extents = policy_->extents(handle);
  RL_CHECK_MSG(extents.size() == 1 && extents[0].address % kAlignment == 0, "a tensor of several parts");
  void* const data = reinterpret_cast<void*>(extents[0].address);
  handles_.emplace(data, handle);
  return data;
}

void PolicyResource::deallocate(void* data, Bytes) noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = handles_.find(data);
  RL_CHECK(found != handles_.end());
  policy_->free(found->second);
  handles_.erase(found);
}

void PolicyResource::trim() {
  const std::lock_guard lock(mutex_);
  policy_->trim();
}

Usage PolicyResource::usage() const {
  const std::lock_guard lock(mutex_);
  return policy_->usage();
}

}  // namespace rl::alloc
