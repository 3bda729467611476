#include "device/allocators/policy.h"

namespace rl::alloc {

Result<Handle> Policy::grow(Handle handle, Bytes bytes) {
  if (grow_in_place(handle, bytes)) return handle;
  RL_ASSIGN(const Handle larger, allocate(bytes));
  free(handle);
  return larger;
}

void Policy::add_reserved(std::int64_t bytes) {
  usage_.reserved += Bytes{bytes};
  peak_.reserved = std::max(peak_.reserved, usage_.reserved);
}

void Policy::add_used(std::int64_t allocated, std::int64_t requested) {
  usage_.allocated += Bytes{allocated};
  usage_.requested += Bytes{requested};
  peak_.allocated = std::max(peak_.allocated, usage_.allocated);
  peak_.requested = std::max(peak_.requested, usage_.requested);
}

Error Policy::out_of_memory(const char* policy, std::int64_t bytes, Bytes free) {
  return {.kind = ErrorKind::out_of_memory,
          .what = fmt::format("the {} allocator finds no place", policy),
          .expected = fmt::format("{} are not in use", format_binary_bytes(free)),
          .found = format_binary_bytes({bytes}),
          .hint = "free memory, or use a policy that fragments less (docs/experiments/fragmentation.md)"};
}

}  // namespace rl::alloc
