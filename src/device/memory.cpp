#include "device/memory.h"

#include <cstdlib>

#include <sys/mman.h>

namespace rl {

Result<void*> CountingResource::allocate(Bytes bytes) {
  RL_ASSIGN(void* data, upstream_.allocate(bytes));
  live_ += bytes;
  peak_ = std::max(peak_, live_);
  ++allocations_;
  return data;
}

void CountingResource::deallocate(void* data, Bytes bytes) noexcept {
  live_ = live_ - bytes;
  ++deallocations_;
  upstream_.deallocate(data, bytes);
}

Result<void*> LimitedResource::allocate(Bytes bytes) {
  if (bytes.count > limit_.count - live_.count)
    return Error{.kind = ErrorKind::out_of_memory,
                 .what = fmt::format("allocation exceeds the limit of {}", format_binary_bytes(limit_)),
                 .expected = fmt::format("at most {} more", format_binary_bytes(limit_ - live_)),
                 .found = format_binary_bytes(bytes)};
  RL_ASSIGN(void* data, upstream_.allocate(bytes));
  live_ += bytes;
  return data;
}

void LimitedResource::deallocate(void* data, Bytes bytes) noexcept {
  live_ = live_ - bytes;
  upstream_.deallocate(data, bytes);
}

Result<void*> PoisoningResource::allocate(Bytes bytes) {
  RL_ASSIGN(void* data, upstream_.allocate(bytes));
  std::memset(data, 0xFF, static_cast<std::size_t>(bytes.count));
  return data;
}

void PoisoningResource::deallocate(void* data, Bytes bytes) noexcept { upstream_.deallocate(data, bytes); }

Result<void*> FailingResource::allocate(Bytes bytes) {
  if (++calls_ >= fail_at_)
    return Error{.kind = ErrorKind::out_of_memory,
                 .what = fmt::format("allocation {} made to fail", calls_),
                 .found = format_binary_bytes(bytes)};
  return upstream_.allocate(bytes);
}

void FailingResource::deallocate(void* data, Bytes bytes) noexcept { upstream_.deallocate(data, bytes); }

namespace {

class HostMemory final : public MemoryResource {
 public:
  Result<void*> allocate(Bytes bytes) override {
    constexpr std::int64_t kHugePage = 2 << 20;
    const bool large = bytes.count >= 2 * kHugePage;
    void* data = nullptr;
    const int code = ::posix_memalign(&data, static_cast<std::size_t>(large ? kHugePage : kAlignment),
                                      static_cast<std::size_t>(std::max<std::int64_t>(bytes.count, 1)));
    if (code != 0)
      return Error{.kind = ErrorKind::out_of_memory,
                   .what = "the system has no memory for this",
                   .found = format_binary_bytes(bytes),
                   .hint = "free memory, or use a smaller model, batch or context",
                   .native_code = code};
    if (large) ::madvise(data, static_cast<std::size_t>(bytes.count), MADV_HUGEPAGE);
    return data;
  }
  void deallocate(void* data, Bytes) noexcept override { std::free(data); }
  std::string name() const override { return "host memory"; }
};

}  // namespace

MemoryResource& host_memory() {
  static HostMemory instance;
  return instance;
}

}  // namespace rl
