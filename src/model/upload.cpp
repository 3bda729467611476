#include "model/upload.h"

namespace rl::model {

Result<UploadRing> UploadRing::make(Device& device, Bytes slot, int slots) {
  UploadRing ring;
  RL_ASSIGN(ring.stream_, device.make_stream());
  for (int i = 0; i < slots; ++i) {
    RL_ASSIGN(Buffer pinned, Buffer::make(device.pinned_memory(), slot));
    RL_ASSIGN(std::unique_ptr<Event> copied, device.make_event());
    ring.slots_.push_back({.pinned = std::move(pinned), .copied = std::move(copied)});
  }
  return ring;
}

Result<std::byte*> UploadRing::next() {
  Slot& slot = slots_[at_];
  if (std::exchange(slot.under_way, false)) RL_TRY(slot.copied->wait());
  return slot.pinned.as<std::byte>();
}

Status UploadRing::send(void* to, Bytes bytes) {
  Slot& slot = slots_[at_];
  RL_CHECK(!slot.under_way && bytes <= slot.pinned.size());
  // Also if what follows fails: the copy may have begun.
  slot.under_way = true;
  at_ = (at_ + 1) % slots_.size();
  RL_TRY(stream_->copy_to_device(to, slot.pinned.data(), bytes));
  return stream_->record(*slot.copied);
}

Status UploadRing::drain() {
  const auto under_way = [](const Slot& slot) { return slot.under_way; };
  if (std::none_of(slots_.begin(), slots_.end(), under_way)) return ok();
  RL_TRY(stream_->synchronize());
  for (Slot& slot : slots_) slot.under_way = false;
  return ok();
}

}  // namespace rl::model
