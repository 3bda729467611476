#include "cuda/host/memory.h"

#include <cstdlib>

#include <sys/mman.h>

#include "base/checked.h"
#include "cuda/host/error.h"

namespace rl::cuda {
namespace {

std::size_t at_least_one(Bytes bytes) { return static_cast<std::size_t>(std::max<std::int64_t>(bytes.count, 1)); }

Error no_room(cudaError_t code, const char* call, const char* where, Bytes bytes) {
  Error error = error_of(code, call);
  if (error.kind != ErrorKind::out_of_memory) return error;
  error.what = fmt::format("{} has no room for {}", where, format_binary_bytes(bytes));
  std::size_t free = 0, total = 0;
  if (cudaMemGetInfo(&free, &total) == cudaSuccess)
    error.found = fmt::format("{} free of {}", format_binary_bytes({static_cast<std::int64_t>(free)}),
                              format_binary_bytes({static_cast<std::int64_t>(total)}));
  return error;
}

}  // namespace

Result<void*> DeviceMemory::allocate(Bytes bytes) {
  void* data = nullptr;
  if (const cudaError_t code = cudaMalloc(&data, at_least_one(bytes)); code != cudaSuccess)
    return no_room(code, "cudaMalloc", "the GPU", bytes);
  return data;
}
void DeviceMemory::deallocate(void* data, Bytes) noexcept { (void)cudaFree(data); }

namespace {

// Large blocks are ordinary memory in huge pages that is pinned afterwards: 128 MiB took 8 ms so and 68 ms through
// cudaHostAlloc, copies from both are equally fast (H200, docs/results/2026-11-29-h200/tuning/pinning.txt).
constexpr std::int64_t kHugePage = 2 << 20;
bool is_large(Bytes bytes) { return bytes.count >= 2 * kHugePage; }

// Null where the driver does not pin it.
void* pin_huge_pages(Bytes bytes) {
  const auto size = static_cast<std::size_t>(round_up(bytes.count, kHugePage));
  void* const data = std::aligned_alloc(kHugePage, size);
  if (data == nullptr) return nullptr;
  (void)::madvise(data, size, MADV_HUGEPAGE);
  if (cudaHostRegister(data, size, cudaHostRegisterDefault) == cudaSuccess) return data;
  (void)cudaGetLastError();
  std::free(data);
  return nullptr;
}

}  // namespace

Result<void*> PinnedMemory::allocate(Bytes bytes) {
  void* data = nullptr;
  if (is_large(bytes) && (data = pin_huge_pages(bytes)) != nullptr) return data;
  if (const cudaError_t code = cudaHostAlloc(&data, at_least_one(bytes), cudaHostAllocDefault); code != cudaSuccess)
    return no_room(code, "cudaHostAlloc", "the host", bytes);
  return data;
}
void PinnedMemory::deallocate(void* data, Bytes bytes) noexcept {
  // What the driver did not register was its own.
  if (is_large(bytes) && cudaHostUnregister(data) == cudaSuccess) return std::free(data);
  (void)cudaGetLastError();
  (void)cudaFreeHost(data);
}

Result<std::unique_ptr<StreamPool>> StreamPool::make(int ordinal, cudaStream_t stream, const PoolOptions& options) {
  int supported = 0;
  RL_CUDA(cudaDeviceGetAttribute, &supported, cudaDevAttrMemoryPoolsSupported, ordinal);
  if (supported == 0)
    return Error{.kind = ErrorKind::unsupported, .what = "the driver has no memory pools for this GPU"};
  cudaMemPoolProps what{};
  what.allocType = cudaMemAllocationTypePinned;
  what.location = {.type = cudaMemLocationTypeDevice, .id = ordinal};
  what.maxSize = static_cast<std::size_t>(options.most.count);
  cudaMemPool_t handle = nullptr;
  RL_CUDA(cudaMemPoolCreate, &handle, &what);
  std::unique_ptr<StreamPool> pool(new StreamPool(handle, stream));
  auto threshold = static_cast<std::uint64_t>(options.release_threshold.count);
  RL_CUDA(cudaMemPoolSetAttribute, handle, cudaMemPoolAttrReleaseThreshold, &threshold);
  return pool;
}
StreamPool::~StreamPool() { (void)cudaMemPoolDestroy(pool_); }

Result<void*> StreamPool::allocate(Bytes bytes) {
  void* data = nullptr;
  if (const cudaError_t code = cudaMallocFromPoolAsync(&data, at_least_one(bytes), pool_, stream_); code != cudaSuccess)
    return no_room(code, "cudaMallocFromPoolAsync", "the GPU memory pool", bytes);
  return data;
}
void StreamPool::deallocate(void* data, Bytes) noexcept { (void)cudaFreeAsync(data, stream_); }

Result<PoolResource::State> StreamPool::state() const {
  std::uint64_t reserved = 0, used = 0;
  RL_CUDA(cudaMemPoolGetAttribute, pool_, cudaMemPoolAttrReservedMemCurrent, &reserved);
  RL_CUDA(cudaMemPoolGetAttribute, pool_, cudaMemPoolAttrUsedMemCurrent, &used);
  return State{.reserved = {static_cast<std::int64_t>(reserved)}, .used = {static_cast<std::int64_t>(used)}};
}

Status StreamPool::trim(Bytes keep) {
  RL_CUDA(cudaStreamSynchronize, stream_);
  return check(cudaMemPoolTrimTo(pool_, static_cast<std::size_t>(keep.count)), "cudaMemPoolTrimTo");
}

}  // namespace rl::cuda
