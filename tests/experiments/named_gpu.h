#pragma once
// A device that calls itself a GPU, for what is decided by that alone: nothing can be computed on it.

#include "device/device.h"

namespace rl::experiments {

class NamedGpu final : public Device {
 public:
  explicit NamedGpu(Device& device) : device_(device), info_(device.info()) {
    info_.name = "a GPU";
    info_.arch = {.family = Arch::Family::cuda};
  }
  const DeviceInfo& info() const override { return info_; }
  Bytes available_memory() const override { return device_.available_memory(); }
  MemoryResource& memory() override { return device_.memory(); }
  MemoryResource& pinned_memory() override { return device_.pinned_memory(); }
  Result<std::unique_ptr<Stream>> make_stream() override { return device_.make_stream(); }
  Result<std::unique_ptr<Event>> make_event() override { return device_.make_event(); }
  Result<std::unique_ptr<Event>> make_timed_event() override { return device_.make_timed_event(); }
  Result<Seconds> elapsed(const Event& first, const Event& last) const override { return device_.elapsed(first, last); }
  bool can_capture() const override { return device_.can_capture(); }
  Result<std::unique_ptr<Device>> make_share(int index, int count) override { return device_.make_share(index, count); }

 private:
  Device& device_;
  DeviceInfo info_;
};

}  // namespace rl::experiments
