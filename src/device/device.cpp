#include "device/device.h"

namespace rl {

Result<std::unique_ptr<PoolResource>> Device::make_pool(Stream&, const PoolOptions&) {
  return Error{.kind = ErrorKind::unsupported, .what = info().name + " has no stream-ordered memory pools"};
}

}  // namespace rl
