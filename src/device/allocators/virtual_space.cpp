#include "device/allocators/virtual_space.h"

namespace rl::alloc {
namespace {

bool whole_pages(Extent extent) {
  return extent.bytes > 0 && extent.bytes % VirtualSpace::kPage == 0 && extent.address % VirtualSpace::kPage == 0;
}

}  // namespace

Result<Extent> VirtualSpace::reserve(std::int64_t bytes) {
  RL_CHECK(whole_pages({0, bytes}));
  const auto address = unreserved_.first_fit(bytes);
  if (!address)
    return Error{.kind = ErrorKind::out_of_memory,
                 .what = "no address range is free that is long enough",
                 .found = format_binary_bytes({bytes})};
  unreserved_.erase({*address, bytes});
  return Extent{*address, bytes};
}

Status VirtualSpace::map_pieces(Extent extent, std::int64_t) {
  RL_CHECK(whole_pages(extent) && !unreserved_.meets(extent) && !mapped_.meets(extent));
  ++calls_;
  if (Bytes{extent.bytes} > free())
    return Error{.kind = ErrorKind::out_of_memory,
                 .what = "the device has too little free memory",
                 .expected = fmt::format("at most {}", format_binary_bytes(free())),
                 .found = format_binary_bytes({extent.bytes})};
  mapped_.insert(extent);
  return ok();
}

void VirtualSpace::unmap(Extent extent) {
  RL_CHECK(whole_pages(extent));
  ++calls_;
  mapped_.erase(extent);
}

void VirtualSpace::release(Extent extent) {
  RL_CHECK(whole_pages(extent) && !mapped_.meets(extent));
  unreserved_.insert(extent);
}

}  // namespace rl::alloc
