#include "device/allocators/paged.h"

#include "base/checked.h"

namespace rl::alloc {

Result<std::unique_ptr<PagedPolicy>> PagedPolicy::make(AddressSpace& space, Bytes page) {
  RL_CHECK(page.count > 0);
  // Whole pages within whole granules of the space.
  const std::int64_t bytes = space.free().count / space.granularity() * space.granularity();
  if (bytes < page.count) return out_of_memory("paged", page.count, space.free());
  RL_ASSIGN(const Extent pool, space.reserve(bytes));
  if (const Status mapped = space.map(pool); !mapped) {
    space.release(pool);
    return mapped.error();
  }
  return std::unique_ptr<PagedPolicy>(new PagedPolicy(space, pool, page.count));
}

PagedPolicy::PagedPolicy(AddressSpace& space, Extent pool, std::int64_t page)
    : space_(space), pool_(pool), page_(page), pages_(pool.bytes / page) {
  add_reserved(pool.bytes);
  // Popped from the back: the lowest page first.
  for (std::int64_t i = pages_; i > 0; --i) empty_.push_back(static_cast<std::int32_t>(i - 1));
}

PagedPolicy::~PagedPolicy() {
  space_.unmap(pool_);
  space_.release(pool_);
}

bool PagedPolicy::extend(Tensor& tensor, std::int64_t bytes) {
  const std::int64_t more = ceil_div(std::max<std::int64_t>(bytes, 1), page_) - std::ssize(tensor.pages);
  if (more > std::ssize(empty_)) return false;
  for (std::int64_t i = 0; i < more; ++i) {
    tensor.pages.push_back(empty_.back());
    empty_.pop_back();
  }
  add_used(std::max<std::int64_t>(more, 0) * page_, bytes - tensor.requested);
  tensor.requested = bytes;
  return true;
}

Result<Handle> PagedPolicy::allocate(Bytes bytes) {
  Tensor tensor;
  if (!extend(tensor, bytes.count)) return out_of_memory(name(), bytes.count, {std::ssize(empty_) * page_});
  tensors_.emplace(next_, std::move(tensor));
  return next_++;
}

void PagedPolicy::free(Handle handle) {
  const auto found = tensors_.find(handle);
  RL_CHECK(found != tensors_.end());
  const Tensor& tensor = found->second;
  add_used(-std::ssize(tensor.pages) * page_, -tensor.requested);
  empty_.insert(empty_.end(), tensor.pages.rbegin(), tensor.pages.rend());
  tensors_.erase(found);
}

bool PagedPolicy::grow_in_place(Handle handle, Bytes bytes) { return extend(tensors_.at(handle), bytes.count); }

std::vector<Extent> PagedPolicy::extents(Handle handle) const {
  std::vector<Extent> extents;
  for (const std::int32_t page : tensors_.at(handle).pages) extents.push_back({pool_.address + page * page_, page_});
  return extents;
}

void PagedPolicy::check_invariants() const {
  std::vector<bool> seen(static_cast<std::size_t>(pages_));
  const auto once = [&](std::int32_t page) {
    RL_CHECK(page >= 0 && page < pages_ && !seen[static_cast<std::size_t>(page)]);
    seen[static_cast<std::size_t>(page)] = true;
  };
  std::int64_t used = 0, requested = 0;
  for (const std::int32_t page : empty_) once(page);
  for (const auto& [handle, tensor] : tensors_) {
    for (const std::int32_t page : tensor.pages) once(page);
    RL_CHECK(tensor.requested <= std::ssize(tensor.pages) * page_);
    used += std::ssize(tensor.pages);
    requested += tensor.requested;
  }
  RL_CHECK(used + std::ssize(empty_) == pages_);
  RL_CHECK(usage().allocated.count == used * page_ && usage().requested.count == requested);
}

}  // namespace rl::alloc
