#include "cuda/host/memory.h"

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

Result<void*> PinnedMemory::allocate(Bytes bytes) {
  void* data = nullptr;
  if (const cudaError_t code = cudaHostAlloc(&data, at_least_one(bytes), cudaHostAllocDefault); code != cudaSuccess)
    return no_room(code, "cudaHostAlloc", "the host", bytes);
  return data;
}
void PinnedMemory::deallocate(void* data, Bytes) noexcept { (void)cudaFreeHost(data); }

}  // namespace rl::cuda
