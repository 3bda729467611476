#pragma once
// How one thread sends bytes to a device that the host cannot write: through a ring of pinned buffers, one filled while
// those before it are copied.

#include <memory>
#include <vector>

#include "base/result.h"
#include "device/device.h"
#include "tensor/buffer.h"

namespace rl::model {

class UploadRing {
 public:
  // Errors: those of the device.
  static Result<UploadRing> make(Device& device, Bytes slot, int slots);
  UploadRing(UploadRing&&) = default;
  UploadRing& operator=(UploadRing&&) = delete;
  ~UploadRing() { (void)drain(); }  // no copy reads a buffer that is gone

  // The next buffer to fill, once its last copy has read it.
  Result<std::byte*> next();
  // Enqueues a copy of the first bytes of that buffer.
  Status send(void* to, Bytes bytes);
  Status drain();  // waits for all copies

 private:
  struct Slot {
    Buffer pinned;
    std::unique_ptr<Event> copied;
    bool under_way = false;
  };
  UploadRing() = default;
  std::unique_ptr<Stream> stream_;
  std::vector<Slot> slots_;
  std::size_t at_ = 0;
};

}  // namespace rl::model
