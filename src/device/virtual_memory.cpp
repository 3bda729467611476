#include "device/virtual_memory.h"

namespace rl::alloc {

MappedSpace::~MappedSpace() {
  for (const auto& [address, bytes] : pieces_) memory_.unmap({address, bytes});
  for (const auto& [address, bytes] : reservations_) memory_.free_addresses({address, bytes});
}

Result<Extent> MappedSpace::reserve(std::int64_t bytes) {
  RL_CHECK(bytes > 0 && bytes % granularity() == 0);
  RL_ASSIGN(const Address address, memory_.reserve(bytes));
  reservations_.emplace(address, bytes);
  return Extent{address, bytes};
}

// The block is let go at once: its mapping alone keeps it.
Status MappedSpace::map_piece(Extent piece) {
  RL_ASSIGN(const VirtualMemory::Block block, memory_.create(piece.bytes));
  const Status mapped = memory_.map(piece, block);
  memory_.destroy(block);
  if (mapped) pieces_.emplace(piece.address, piece.bytes);
  return mapped;
}

Status MappedSpace::map_pieces(Extent extent, std::int64_t piece) {
  RL_CHECK(extent.bytes > 0 && piece > 0 && extent.bytes % piece == 0 && piece % granularity() == 0);
  ++calls_;
  if (Bytes{extent.bytes} > free())
    return Error{.kind = ErrorKind::out_of_memory,
                 .what = "this would take more of the device's memory than was set aside",
                 .expected = fmt::format("at most {}", format_binary_bytes(free())),
                 .found = format_binary_bytes({extent.bytes})};
  Status status = ok();
  std::int64_t done = 0;
  while (status && done < extent.bytes) {
    status = map_piece({extent.address + done, piece});
    if (status) done += piece;
  }
  if (status) status = memory_.allow_access(extent);
  if (status) {
    mapped_ += Bytes{extent.bytes};
    return status;
  }
  for (std::int64_t at = 0; at < done; at += piece) {
    memory_.unmap({extent.address + at, piece});
    pieces_.erase(extent.address + at);
  }
  return status;
}

void MappedSpace::unmap(Extent extent) {
  ++calls_;
  for (Address at = extent.address; at < extent.end();) {
    const auto piece = pieces_.find(at);
    RL_CHECK_MSG(piece != pieces_.end() && at + piece->second <= extent.end(), "only what was mapped is unmapped");
    at += piece->second;
    memory_.unmap({piece->first, piece->second});
    pieces_.erase(piece);
  }
  mapped_ = mapped_ - Bytes{extent.bytes};
}

void MappedSpace::release(Extent extent) {
  const auto reservation = reservations_.find(extent.address);
  RL_CHECK(reservation != reservations_.end() && reservation->second == extent.bytes);
  const auto first = pieces_.lower_bound(extent.address);
  RL_CHECK_MSG(first == pieces_.end() || first->first >= extent.end(), "something is still mapped");
  reservations_.erase(reservation);
  memory_.free_addresses(extent);
}

}  // namespace rl::alloc
