#pragma once
// When the steps of engines that work side by side were on the device, by timestamps that their own streams take.

#include <memory>
#include <vector>

#include "device/device.h"
#include "loadgen/load.h"

namespace rl::experiments {

// A device that is another one and remembers the first stream made on it: an engine's, where weights are there already.
class WatchedDevice final : public Device {
 public:
  explicit WatchedDevice(Device& device) : device_(&device) {}
  explicit WatchedDevice(std::unique_ptr<Device> device) : owned_(std::move(device)), device_(owned_.get()) {}
  Stream* stream() const { return stream_; }  // null: none was made

  const DeviceInfo& info() const override { return device_->info(); }
  Bytes available_memory() const override { return device_->available_memory(); }
  MemoryResource& memory() override { return device_->memory(); }
  MemoryResource& pinned_memory() override { return device_->pinned_memory(); }
  Result<std::unique_ptr<Stream>> make_stream() override {
    RL_ASSIGN(std::unique_ptr<Stream> made, device_->make_stream());
    if (stream_ == nullptr) stream_ = made.get();
    return made;
  }
  Result<std::unique_ptr<Event>> make_event() override { return device_->make_event(); }
  Result<std::unique_ptr<Event>> make_timed_event() override { return device_->make_timed_event(); }
  Result<Seconds> elapsed(const Event& first, const Event& last) const override {
    return device_->elapsed(first, last);
  }
  bool can_capture() const override { return device_->can_capture(); }
  bool host_reads_memory() const override { return device_->host_reads_memory(); }
  Result<std::unique_ptr<Device>> make_share(int index, int count) override {
    return device_->make_share(index, count);
  }

 private:
  std::unique_ptr<Device> owned_;
  Device* device_;
  Stream* stream_ = nullptr;
};

struct Span {
  Seconds begin, end;
};

// An engine's steps, each with an event before and one after it in its stream. The device and the target must outlive
// it.
class TimedTarget final : public loadgen::Target {
 public:
  TimedTarget(WatchedDevice& device, loadgen::Target& target) : device_(device), target_(target) {}
  Result<RequestId> submit(engine::Request request) override { return target_.submit(std::move(request)); }
  Result<std::vector<engine::TokenEvent>> step() override;
  bool idle() const override { return target_.idle(); }
  std::int64_t reused_tokens() const override { return target_.reused_tokens(); }
  bool reuses_prefixes() const override { return target_.reuses_prefixes(); }
  // Of the steps so far, since `origin`, an event of the same device that was reached before them.
  Result<std::vector<Span>> spans(const Event& origin) const;

 private:
  Result<std::unique_ptr<Event>> mark();
  WatchedDevice& device_;
  loadgen::Target& target_;
  std::vector<std::pair<std::unique_ptr<Event>, std::unique_ptr<Event>>> steps_;
};

// What spans of several workers say. Times at which none has a step are left out of all of it.
struct Overlap {
  double share = 0;  // of the time, in which two or more had one
  double mean = 0;   // steps at once
  Seconds step;      // median length of one
};
Overlap overlap_of(const std::vector<std::vector<Span>>& workers);

}  // namespace rl::experiments
