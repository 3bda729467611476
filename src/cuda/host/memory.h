#pragma once
// Memory of the card and host memory that it copies fast.

#include "device/memory.h"

namespace rl::cuda {

// cudaMalloc. Errors: out_of_memory with what was asked and what the driver says is free.
class DeviceMemory final : public MemoryResource {
 public:
  Result<void*> allocate(Bytes bytes) override;
  void deallocate(void* data, Bytes bytes) noexcept override;
  std::string name() const override { return "GPU memory"; }
};

// cudaHostAlloc: pages that stay where they are.
class PinnedMemory final : public MemoryResource {
 public:
  Result<void*> allocate(Bytes bytes) override;
  void deallocate(void* data, Bytes bytes) noexcept override;
  std::string name() const override { return "pinned host memory"; }
};

}  // namespace rl::cuda
