#pragma once
// An address space with nothing behind it: the arithmetic of a GPU's memory without a GPU. It keeps the driver's books
// (which addresses are reserved, which are mapped, how much memory is left) and ends the program where a policy breaks
// the rules, so that policies are tested and measured with their real code.
//
// The model, and its source: memory is handed out in pages of 2 MiB, any free page can stand behind any address, and
// there are far more addresses (2^48 bytes) than memory (PyTorch, c10/cuda/CUDACachingAllocator.cpp, note on expandable
// segments: 256 TiB of addresses, pages of 2 MiB; CUDA Driver API, virtual memory management,
// cuMemGetAllocationGranularity). Free pages therefore need not lie side by side, and the driver itself cannot
// fragment above a page. Addresses are given first fit. What a call costs on a GPU is not modelled; calls are counted.

#include "device/allocators/address_space.h"
#include "device/allocators/interval_set.h"

namespace rl::alloc {

class VirtualSpace final : public AddressSpace {
 public:
  static constexpr std::int64_t kPage = 2 << 20;
  static constexpr std::int64_t kAddresses = std::int64_t{1} << 48;

  explicit VirtualSpace(Bytes capacity) : capacity_(capacity) { unreserved_.insert({kPage, kAddresses - kPage}); }

  std::int64_t granularity() const override { return kPage; }
  Bytes capacity() const override { return capacity_; }
  Bytes free() const override { return capacity_ - Bytes{mapped_.bytes()}; }
  Result<Extent> reserve(std::int64_t bytes) override;
  Status map_pieces(Extent extent, std::int64_t piece) override;
  void unmap(Extent extent) override;
  void release(Extent extent) override;
  std::int64_t calls() const override { return calls_; }
  Bytes reserved() const { return {kAddresses - kPage - unreserved_.bytes()}; }

 private:
  Bytes capacity_;
  IntervalSet unreserved_, mapped_;
  std::int64_t calls_ = 0;
};

}  // namespace rl::alloc
