#pragma once
// Pages of one size, all mapped at the start; a tensor is a list of pages, wherever they lie (Kwon et al., arXiv
// 2309.06180). What reads the tensor must follow the list: attention does, an ordinary kernel cannot.

#include <memory>
#include <unordered_map>

#include "device/allocators/policy.h"

namespace rl::alloc {

class PagedPolicy final : public Policy {
 public:
  // Takes as many pages as the space has free memory for. Errors: out_of_memory if that is none.
  static Result<std::unique_ptr<PagedPolicy>> make(AddressSpace& space, Bytes page);
  ~PagedPolicy() override;
  const char* name() const override { return "paged"; }
  Result<Handle> allocate(Bytes bytes) override;
  void free(Handle handle) override;
  void trim() override {}  // the pool is a fixed part of the device
  std::vector<Extent> extents(Handle handle) const override;
  void check_invariants() const override;
  std::int64_t pages() const { return pages_; }

 protected:
  bool grow_in_place(Handle handle, Bytes bytes) override;

 private:
  PagedPolicy(AddressSpace& space, Extent pool, std::int64_t page);
  struct Tensor {
    std::vector<std::int32_t> pages;
    std::int64_t requested = 0;
  };
  bool extend(Tensor& tensor, std::int64_t bytes);  // false: nothing taken

  AddressSpace& space_;
  Extent pool_;
  std::int64_t page_, pages_;
  std::vector<std::int32_t> empty_;  // a stack
  std::unordered_map<Handle, Tensor> tensors_;
  Handle next_ = 0;
};

}  // namespace rl::alloc
