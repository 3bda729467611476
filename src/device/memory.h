#pragma once
// Memory as composable resources: a resource hands out bytes; decorators over another resource count, limit, poison or
// make allocations fail. Everything that allocates takes the resource it allocates from.

#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/units.h"

namespace rl {

inline constexpr std::int64_t kAlignment = 256;  // of every allocation: a cache line, a TMA box, a vector load all fit

class MemoryResource {
 public:
  MemoryResource() = default;
  MemoryResource(const MemoryResource&) = delete;  // or a decorator made over one of its own kind would be a copy of it
  MemoryResource& operator=(const MemoryResource&) = delete;
  virtual ~MemoryResource() = default;
  // At least `bytes` bytes aligned to kAlignment; a request of 0 bytes gives a valid pointer. Errors: out_of_memory,
  // which names the resource, the request and what was free where that is known.
  virtual Result<void*> allocate(Bytes bytes) = 0;
  virtual void deallocate(void* data, Bytes bytes) noexcept = 0;
  virtual std::string name() const = 0;
};

// Memory in the order of a stream: what is allocated is for work that the stream does from then on, or that waits for
// it; what is freed may be given out again to the stream's later work.
class PoolResource : public MemoryResource {
 public:
  struct State {
    Bytes reserved;  // taken from the device
    Bytes used;      // of reserved: given out
  };
  virtual Result<State> state() const = 0;  // as the driver says
  virtual Status trim(Bytes keep) = 0;      // waits for the stream, then gives back what is more than `keep` and free
};
struct PoolOptions {
  Bytes release_threshold;  // what it keeps when the device is synchronised
  Bytes most;               // that it ever takes; 0: no limit
};

// Counts what its upstream gives: live bytes, their peak, the number of calls.
class CountingResource final : public MemoryResource {
 public:
  explicit CountingResource(MemoryResource& upstream) : upstream_(upstream) {}
  Result<void*> allocate(Bytes bytes) override;
  void deallocate(void* data, Bytes bytes) noexcept override;
  std::string name() const override { return upstream_.name(); }

  Bytes live() const { return live_; }
  Bytes peak() const { return peak_; }
  std::int64_t allocations() const { return allocations_; }
  std::int64_t deallocations() const { return deallocations_; }
  void reset_peak() { peak_ = live_; }

 private:
  MemoryResource& upstream_;
  Bytes live_, peak_;
  std::int64_t allocations_ = 0, deallocations_ = 0;
};

// Refuses what would take the live bytes over a limit.
class LimitedResource final : public MemoryResource {
 public:
  LimitedResource(MemoryResource& upstream, Bytes limit) : upstream_(upstream), limit_(limit) {}
  Result<void*> allocate(Bytes bytes) override;
  void deallocate(void* data, Bytes bytes) noexcept override;
  std::string name() const override { return upstream_.name(); }
  Bytes limit() const { return limit_; }

 private:
  MemoryResource& upstream_;
  Bytes limit_, live_;
};

// Fills every allocation with 0xFF bytes, a NaN in every float format: reads of memory nothing wrote show. Host memory
// only.
class PoisoningResource final : public MemoryResource {
 public:
  explicit PoisoningResource(MemoryResource& upstream) : upstream_(upstream) {}
  Result<void*> allocate(Bytes bytes) override;
  void deallocate(void* data, Bytes bytes) noexcept override;
  std::string name() const override { return upstream_.name(); }

 private:
  MemoryResource& upstream_;
};

// Fails the n-th allocation (counted from 1) and all after it.
class FailingResource final : public MemoryResource {
 public:
  FailingResource(MemoryResource& upstream, std::int64_t fail_at) : upstream_(upstream), fail_at_(fail_at) {}
  Result<void*> allocate(Bytes bytes) override;
  void deallocate(void* data, Bytes bytes) noexcept override;
  std::string name() const override { return upstream_.name(); }

 private:
  MemoryResource& upstream_;
  std::int64_t fail_at_, calls_ = 0;
};

// Ordinary host memory; large blocks are page-aligned and advised to use huge pages.
MemoryResource& host_memory();

}  // namespace rl
