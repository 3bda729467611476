#pragma once
// An allocator policy: how the memory of an AddressSpace is cut into tensors. The policies manage addresses only, so
// the same code runs over a GPU and over a VirtualSpace.

#include <span>
#include <string>
#include <vector>

#include "device/allocators/address_space.h"

namespace rl::alloc {

using Handle = std::int64_t;  // of one allocation, chosen by the policy

struct Usage {
  Bytes reserved;   // mapped: what other users of the device cannot have
  Bytes allocated;  // of reserved: blocks in use, with what rounding added
  Bytes requested;  // of allocated: what was asked for
};

class Policy {
 public:
  virtual ~Policy() = default;
  Policy() = default;
  Policy(const Policy&) = delete;
  Policy& operator=(const Policy&) = delete;

  virtual const char* name() const = 0;
  // Errors: out_of_memory; invalid_input where a policy that must know sizes beforehand was not told of this one.
  virtual Result<Handle> allocate(Bytes bytes) = 0;
  virtual void free(Handle handle) = 0;
  // Makes an allocation larger: where it is if it can, else a new one is made and the old one freed after it (both are
  // there at once: somebody copies). Errors: as allocate; the old one then stays as it was.
  Result<Handle> grow(Handle handle, Bytes bytes);
  // Gives what no allocation needs back to the device, as far as the policy ever does.
  virtual void trim() = 0;

  const Usage& usage() const { return usage_; }
  const Usage& peak() const { return peak_; }  // of each figure by itself
  // Where the bytes of an allocation lie: one extent, or one for each page.
  virtual std::vector<Extent> extents(Handle handle) const = 0;
  // Ends the program if the books contradict themselves.
  virtual void check_invariants() const = 0;

 protected:
  virtual bool grow_in_place(Handle handle, Bytes bytes) = 0;  // bytes is at least its size
  // Adds to the books.
  void add_reserved(std::int64_t bytes);
  void add_used(std::int64_t allocated, std::int64_t requested);
  static Error out_of_memory(const char* policy, std::int64_t bytes, Bytes free);

 private:
  Usage usage_, peak_;
};

}  // namespace rl::alloc
