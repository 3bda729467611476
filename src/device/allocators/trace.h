#pragma once
// What a program asked of its allocator, as data, and what a policy makes of it.

#include <memory>
#include <string>
#include <vector>

#include "device/allocators/lifetime_plan.h"
#include "device/allocators/policy.h"

namespace rl::alloc {

struct Event {
  enum class Kind { allocate, grow, free, trim } kind = Kind::allocate;
  std::int32_t tensor = -1;  // numbered from 0 in the order of their first event; trim has none
  std::int64_t bytes = 0;    // of allocate and grow: the size from now on
};

struct Trace {
  std::string name;
  std::vector<Event> events;
  std::int64_t tensors() const;
  Bytes live() const;       // asked for at the end
  Bytes peak_live() const;  // the most at once
  // Of each tensor the largest size and the first and last event; those never freed live past the end.
  std::vector<Lifetime> lifetimes() const;
  // Errors: invalid_input (a tensor that is freed or grown before it is allocated, allocated twice, shrinks).
  Status validate() const;
  // The same with one tensor more at the end.
  Trace with(Bytes tensor) const;
};

struct Replay {
  std::vector<Handle> handles;  // of each tensor; -1: not there
  std::int64_t calls = 0;       // of the policy
  std::int64_t failed = 0;      // that found no place; a tensor that cannot grow is given up
  bool last_failed = false;     // the last call did
  Bytes copied;                 // by tensors that had to move to grow
};
// Errors: the policy's, other than out_of_memory.
Result<Replay> replay(Policy& policy, const Trace& trace);

// The policies by name: "direct", "caching", "caching-no-trim", "expandable", "arena", "paged". The arena is planned
// for the trace, the only one that knows it; `page` is that of "paged". Errors: usage for an unknown name; the
// policy's.
Result<std::unique_ptr<Policy>> make_policy(const std::string& name, AddressSpace& space, const Trace& trace,
                                            Bytes page);

}  // namespace rl::alloc
