#pragma once
// Buffer: bytes owned from a MemoryResource. Move-only; freed on destruction.

#include <type_traits>
#include <utility>

#include "device/memory.h"

namespace rl {

class Buffer {
 public:
  Buffer() = default;
  static Result<Buffer> make(MemoryResource& resource, Bytes bytes) {
    RL_ASSIGN(void* data, resource.allocate(bytes));
    return Buffer(resource, data, bytes);
  }
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    Buffer moved(std::move(other));
    swap(moved);
    return *this;
  }
  ~Buffer() {
    if (data_) resource_->deallocate(data_, bytes_);
  }

  void* data() const { return data_; }
  Bytes size() const { return bytes_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  explicit operator bool() const { return data_ != nullptr; }

 private:
  Buffer(MemoryResource& resource, void* data, Bytes bytes) : resource_(&resource), data_(data), bytes_(bytes) {}
  void swap(Buffer& other) noexcept {
    std::swap(resource_, other.resource_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }

  MemoryResource* resource_ = nullptr;
  void* data_ = nullptr;
  Bytes bytes_;
};
static_assert(!std::is_copy_constructible_v<Buffer> && std::is_nothrow_move_constructible_v<Buffer>);

}  // namespace rl
