#pragma once
// What an allocator policy gets its memory from: addresses are reserved, and memory is put behind them. It is the shape
// of CUDA's virtual memory management (cuMemAddressReserve, cuMemCreate with cuMemMap, cuMemUnmap with cuMemRelease,
// cuMemAddressFree); an allocation of the driver (cudaMalloc) is a reserve and a map of the same size.

#include <cstdint>

#include "base/result.h"
#include "base/units.h"

namespace rl::alloc {

using Address = std::int64_t;  // of the device: below 2^48

struct Extent {
  Address address = 0;
  std::int64_t bytes = 0;
  Address end() const { return address + bytes; }
};

class AddressSpace {
 public:
  virtual ~AddressSpace() = default;
  virtual std::int64_t granularity() const = 0;  // all addresses and sizes below are multiples of it
  virtual Bytes capacity() const = 0;            // of memory
  virtual Bytes free() const = 0;                // memory that is not mapped
  // Addresses that nobody else has, with no memory behind them. Errors: out_of_memory.
  virtual Result<Extent> reserve(std::int64_t bytes) = 0;
  // Puts memory behind reserved addresses that have none, in pieces of this size that can be unmapped one by one.
  // Errors: out_of_memory, and nothing is mapped.
  virtual Status map_pieces(Extent extent, std::int64_t piece) = 0;
  Status map(Extent extent) { return map_pieces(extent, extent.bytes); }  // in one piece
  virtual void unmap(Extent extent) = 0;                                  // whole pieces
  virtual void release(Extent extent) = 0;                                // a whole reservation, none of it mapped
  virtual std::int64_t calls() const = 0;  // of map and unmap: those that a GPU's driver takes long for
};

}  // namespace rl::alloc
