#pragma once
// A device's virtual memory as its driver offers it (cuMemAddressReserve, cuMemCreate, cuMemMap, cuMemSetAccess), call
// by call, and an address space for allocator policies made of it.

#include <map>

#include "device/allocators/address_space.h"

namespace rl {

class VirtualMemory {
 public:
  using Block = std::uint64_t;  // memory of the device without an address
  virtual ~VirtualMemory() = default;
  virtual std::int64_t granularity() const = 0;  // of all addresses and sizes below
  virtual Result<alloc::Address> reserve(std::int64_t bytes) = 0;
  virtual void free_addresses(alloc::Extent reservation) noexcept = 0;  // a whole one, with nothing mapped
  virtual Result<Block> create(std::int64_t bytes) = 0;                 // errors: out_of_memory
  // The block stays in use as long as it is mapped; once it is neither held nor mapped, its memory is free.
  virtual void destroy(Block block) noexcept = 0;
  virtual Status map(alloc::Extent extent, Block block) = 0;  // of the extent's size
  virtual void unmap(alloc::Extent extent) noexcept = 0;      // exactly one that was mapped
  virtual Status allow_access(alloc::Extent extent) = 0;      // reads and writes by the device; all of it is mapped
};

namespace alloc {

// The address space of a device. What is not given back when it ends is given back then.
class MappedSpace final : public AddressSpace {
 public:
  // Maps no more than `capacity`, which leaves the rest of the device's memory to others.
  MappedSpace(VirtualMemory& memory, Bytes capacity) : memory_(memory), capacity_(capacity) {}
  ~MappedSpace() override;
  MappedSpace(const MappedSpace&) = delete;
  MappedSpace& operator=(const MappedSpace&) = delete;

  std::int64_t granularity() const override { return memory_.granularity(); }
  Bytes capacity() const override { return capacity_; }
  Bytes free() const override { return capacity_ - mapped_; }
  Result<Extent> reserve(std::int64_t bytes) override;
  Status map_pieces(Extent extent, std::int64_t piece) override;
  void unmap(Extent extent) override;
  void release(Extent extent) override;
  std::int64_t calls() const override { return calls_; }

 private:
  Status map_piece(Extent piece);

  VirtualMemory& memory_;
  Bytes capacity_, mapped_;
  std::map<Address, std::int64_t> reservations_, pieces_;  // bytes by first address; pieces: as mapped
  std::int64_t calls_ = 0;
};

}  // namespace alloc
}  // namespace rl
