#include "cuda/host/virtual_memory.h"

#include <cuda.h>

#include "cuda/host/error.h"

namespace rl::cuda {
namespace {

// CUresult and cudaError_t number the same errors alike.
Status checked(CUresult code, const char* call) { return check(static_cast<cudaError_t>(code), call); }

#define RL_DRIVER(call, ...) RL_TRY(checked(driver_.call(__VA_ARGS__), #call))

struct Driver {
  decltype(&::cuMemGetAllocationGranularity) cuMemGetAllocationGranularity = nullptr;
  decltype(&::cuMemAddressReserve) cuMemAddressReserve = nullptr;
  decltype(&::cuMemAddressFree) cuMemAddressFree = nullptr;
  decltype(&::cuMemCreate) cuMemCreate = nullptr;
  decltype(&::cuMemRelease) cuMemRelease = nullptr;
  decltype(&::cuMemMap) cuMemMap = nullptr;
  decltype(&::cuMemUnmap) cuMemUnmap = nullptr;
  decltype(&::cuMemSetAccess) cuMemSetAccess = nullptr;

  Status find_all() {
    RL_TRY(find(cuMemGetAllocationGranularity, "cuMemGetAllocationGranularity"));
    RL_TRY(find(cuMemAddressReserve, "cuMemAddressReserve"));
    RL_TRY(find(cuMemAddressFree, "cuMemAddressFree"));
    RL_TRY(find(cuMemCreate, "cuMemCreate"));
    RL_TRY(find(cuMemRelease, "cuMemRelease"));
    RL_TRY(find(cuMemMap, "cuMemMap"));
    RL_TRY(find(cuMemUnmap, "cuMemUnmap"));
    return find(cuMemSetAccess, "cuMemSetAccess");
  }

 private:
  template <class F>
  static Status find(F& function, const char* name) {
    constexpr unsigned kSince = 10020;  // CUDA 10.2, the form of all of them
    void* address = nullptr;
    cudaDriverEntryPointQueryResult found{};
    RL_CUDA(cudaGetDriverEntryPointByVersion, name, &address, kSince, cudaEnableDefault, &found);
    if (found != cudaDriverEntryPointSuccess || address == nullptr)
      return Error{.kind = ErrorKind::unsupported, .what = "the driver lacks a function", .found = name};
    function = reinterpret_cast<F>(address);
    return ok();
  }
};

class CardMemory final : public VirtualMemory {
 public:
  CardMemory(const Driver& driver, int ordinal) : driver_(driver) {
    what_.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    what_.location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = ordinal};
  }
  Status begin() {
    std::size_t bytes = 0;
    RL_DRIVER(cuMemGetAllocationGranularity, &bytes, &what_, CU_MEM_ALLOC_GRANULARITY_RECOMMENDED);
    granularity_ = static_cast<std::int64_t>(bytes);
    return ok();
  }

  std::int64_t granularity() const override { return granularity_; }
  Result<alloc::Address> reserve(std::int64_t bytes) override {
    CUdeviceptr address = 0;
    RL_DRIVER(cuMemAddressReserve, &address, size(bytes), 0, 0, 0);
    return static_cast<alloc::Address>(address);
  }
  void free_addresses(alloc::Extent extent) noexcept override {
    (void)driver_.cuMemAddressFree(at(extent), size(extent.bytes));
  }
  Result<Block> create(std::int64_t bytes) override {
    CUmemGenericAllocationHandle handle = 0;
    RL_DRIVER(cuMemCreate, &handle, size(bytes), &what_, 0);
    return handle;
  }
  void destroy(Block block) noexcept override { (void)driver_.cuMemRelease(block); }
  Status map(alloc::Extent extent, Block block) override {
    RL_DRIVER(cuMemMap, at(extent), size(extent.bytes), 0, block, 0);
    return ok();
  }
  void unmap(alloc::Extent extent) noexcept override { (void)driver_.cuMemUnmap(at(extent), size(extent.bytes)); }
  Status allow_access(alloc::Extent extent) override {
    const CUmemAccessDesc access{.location = what_.location, .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    RL_DRIVER(cuMemSetAccess, at(extent), size(extent.bytes), &access, 1);
    return ok();
  }

 private:
  static CUdeviceptr at(alloc::Extent extent) { return static_cast<CUdeviceptr>(extent.address); }
  static std::size_t size(std::int64_t bytes) { return static_cast<std::size_t>(bytes); }

  Driver driver_;
  CUmemAllocationProp what_{};
  std::int64_t granularity_ = 0;
};

}  // namespace

Result<std::unique_ptr<VirtualMemory>> make_virtual_memory(int ordinal) {
  Driver driver;
  RL_TRY(driver.find_all());
  auto memory = std::make_unique<CardMemory>(driver, ordinal);
  RL_TRY(memory->begin());
  return std::unique_ptr<VirtualMemory>(std::move(memory));
}

}  // namespace rl::cuda
