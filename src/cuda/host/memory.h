#pragma once
// Memory of the card and host memory that it copies fast.

#include <memory>

#include <cuda_runtime_api.h>

#include "device/memory.h"

namespace rl::cuda {

// cudaMalloc. Errors: out_of_memory with what was asked and what the driver says is free.
class DeviceMemory final : public MemoryResource {
 public:
  Result<void*> allocate(Bytes bytes) override;
  void deallocate(void* data, Bytes bytes) noexcept override;
  std::string name() const override { return "GPU memory"; }
};

// cudaHostAlloc, for large blocks cudaHostRegister: pages that stay where they are.
class PinnedMemory final : public MemoryResource {
 public:
  Result<void*> allocate(Bytes bytes) override;
  void deallocate(void* data, Bytes bytes) noexcept override;
  std::string name() const override { return "pinned host memory"; }
};

// A pool of the driver's (cudaMemPoolCreate) for one stream, which outlives it. Allocations that are left when it ends
// stay valid until they are freed: the driver then gives the pool's memory back.
class StreamPool final : public PoolResource {
 public:
  // Errors: unsupported where the driver has no pools; device.
  static Result<std::unique_ptr<StreamPool>> make(int ordinal, cudaStream_t stream, const PoolOptions& options);
  ~StreamPool() override;
  StreamPool(const StreamPool&) = delete;
  StreamPool& operator=(const StreamPool&) = delete;

  Result<void*> allocate(Bytes bytes) override;
  void deallocate(void* data, Bytes bytes) noexcept override;
  std::string name() const override { return "GPU memory pool"; }
  Result<State> state() const override;
  Status trim(Bytes keep) override;

 private:
  StreamPool(cudaMemPool_t pool, cudaStream_t stream) : pool_(pool), stream_(stream) {}
  cudaMemPool_t pool_;
  cudaStream_t stream_;
};

}  // namespace rl::cuda
