#include "device/allocators/arena.h"

#include "base/checked.h"

namespace rl::alloc {

Result<std::unique_ptr<ArenaPolicy>> ArenaPolicy::make(AddressSpace& space, std::vector<Lifetime> values) {
  LifetimePlan plan = plan_lifetimes(values);
  const std::int64_t bytes = round_up(std::max<std::int64_t>(plan.total.count, 1), space.granularity());
  RL_ASSIGN(const Extent arena, space.reserve(bytes));
  if (const Status mapped = space.map(arena); !mapped) {
    space.release(arena);
    if (mapped.error().kind != ErrorKind::out_of_memory) return mapped.error();
    return out_of_memory("arena", bytes, space.free());
  }
  return std::unique_ptr<ArenaPolicy>(new ArenaPolicy(space, arena, std::move(values), std::move(plan)));
}

ArenaPolicy::ArenaPolicy(AddressSpace& space, Extent arena, std::vector<Lifetime> values, LifetimePlan plan)
    : space_(space), arena_(arena), values_(std::move(values)), plan_(std::move(plan)), requested_(values_.size(), -1) {
  add_reserved(arena.bytes);
}

ArenaPolicy::~ArenaPolicy() {
  space_.unmap(arena_);
  space_.release(arena_);
}

std::size_t ArenaPolicy::used(Handle handle) const {
  RL_CHECK(handle >= 0 && handle < std::ssize(values_) && requested_[static_cast<std::size_t>(handle)] >= 0);
  return static_cast<std::size_t>(handle);
}

Result<Handle> ArenaPolicy::allocate(Bytes bytes) {
  if (next_ == values_.size() || bytes.count > values_[next_].bytes)
    return Error{.kind = ErrorKind::invalid_input,
                 .what = fmt::format("allocation {} was not planned", next_),
                 .rule = "arena.unplanned",
                 .expected = next_ == values_.size()
                                 ? "no further one"
                                 : fmt::format("at most {}", format_binary_bytes({values_[next_].bytes})),
                 .found = format_binary_bytes(bytes),
                 .hint = "plan the arena anew with all sizes and lives"};
  requested_[next_] = bytes.count;
  add_used(values_[next_].bytes, bytes.count);
  return static_cast<Handle>(next_++);
}

void ArenaPolicy::free(Handle handle) {
  const std::size_t value = used(handle);
  add_used(-values_[value].bytes, -requested_[value]);
  requested_[value] = -1;
}

bool ArenaPolicy::grow_in_place(Handle handle, Bytes bytes) {
  const std::size_t value = used(handle);
  if (bytes.count > values_[value].bytes) return false;
  add_used(0, bytes.count - requested_[value]);
  requested_[value] = bytes.count;
  return true;
}

std::vector<Extent> ArenaPolicy::extents(Handle handle) const {
  const std::size_t value = used(handle);
  return {{arena_.address + plan_.offset[value], values_[value].bytes}};
}

void ArenaPolicy::check_invariants() const {
  std::int64_t allocated = 0, requested = 0;
  for (std::size_t v = 0; v < values_.size(); ++v) {
    if (requested_[v] < 0) continue;
    allocated += values_[v].bytes;
    requested += requested_[v];
    RL_CHECK(requested_[v] <= values_[v].bytes && plan_.offset[v] + values_[v].bytes <= arena_.bytes);
  }
  RL_CHECK(usage().allocated.count == allocated && usage().requested.count == requested);
}

}  // namespace rl::alloc
