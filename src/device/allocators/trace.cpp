#include "device/allocators/trace.h"

#include "device/allocators/arena.h"
#include "device/allocators/caching.h"
#include "device/allocators/direct.h"
#include "device/allocators/paged.h"

namespace rl::alloc {
namespace {

using Kind = Event::Kind;

// Calls visit(live bytes) after each event; returns the last.
template <class Visit>
Bytes walk(const Trace& trace, Visit visit) {
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(trace.tensors()));
  Bytes live;
  for (const Event& event : trace.events) {
    if (event.kind != Kind::trim) {
      std::int64_t& size = sizes[static_cast<std::size_t>(event.tensor)];
      live += Bytes{event.bytes - size};
      size = event.bytes;
    }
    visit(live);
  }
  return live;
}

}  // namespace

std::int64_t Trace::tensors() const {
  std::int64_t tensors = 0;
  for (const Event& event : events) tensors = std::max<std::int64_t>(tensors, event.tensor + 1);
  return tensors;
}

Bytes Trace::live() const {
  return walk(*this, [](Bytes) {});
}

Bytes Trace::peak_live() const {
  Bytes peak;
  walk(*this, [&](Bytes live) { peak = std::max(peak, live); });
  return peak;
}

std::vector<Lifetime> Trace::lifetimes() const {
  std::vector<Lifetime> lives(static_cast<std::size_t>(tensors()));
  for (std::size_t i = 0; i < events.size(); ++i) {
    const auto at = static_cast<std::int64_t>(i);
    if (events[i].kind == Kind::trim) continue;
    Lifetime& life = lives[static_cast<std::size_t>(events[i].tensor)];
    if (events[i].kind == Kind::allocate) life.first = at;
    life.bytes = std::max(life.bytes, events[i].bytes);
    life.last = events[i].kind == Kind::free ? at : std::ssize(events);
  }
  return lives;
}

Status Trace::validate() const {
  std::vector<std::int64_t> sizes;  // -1: freed
  for (std::size_t i = 0; i < events.size(); ++i) {
    const Event& event = events[i];
    const auto wrong = [&](const char* what) {
      return Error{.kind = ErrorKind::invalid_input,
                   .what = fmt::format("event {} of trace {}: {}", i, name, what),
                   .rule = "trace.order",
                   .found = fmt::format("tensor {}, {} bytes", event.tensor, event.bytes)};
    };
    if (event.kind == Kind::trim) continue;
    if (event.kind == Kind::allocate) {
      if (event.tensor != std::ssize(sizes)) return wrong("tensors are not numbered in order");
      if (event.bytes <= 0) return wrong("a tensor has no bytes");
      sizes.push_back(event.bytes);
      continue;
    }
    if (event.tensor < 0 || event.tensor >= std::ssize(sizes)) return wrong("a tensor is used before it is allocated");
    std::int64_t& size = sizes[static_cast<std::size_t>(event.tensor)];
    if (size < 0) return wrong("a tensor is used after it was freed");
    if (event.kind == Kind::grow && event.bytes < size) return wrong("a tensor shrinks");
    if (event.kind == Kind::free && event.bytes != 0) return wrong("a freed tensor has bytes");
    size = event.kind == Kind::free ? -1 : event.bytes;
  }
  return ok();
}

Trace Trace::with(Bytes tensor) const {
  Trace longer = *this;
  longer.events.push_back({Kind::allocate, static_cast<std::int32_t>(tensors()), tensor.count});
  return longer;
}

Result<Replay> replay(Policy& policy, const Trace& trace) {
  constexpr Handle kNone = -1;
  Replay result;
  result.handles.assign(static_cast<std::size_t>(trace.tensors()), kNone);
  std::vector<std::int64_t> sizes(result.handles.size());
  for (const Event& event : trace.events) {
    if (event.kind == Kind::trim) {
      policy.trim();
      continue;
    }
    const auto tensor = static_cast<std::size_t>(event.tensor);
    Handle& handle = result.handles[tensor];
    if (event.kind != Kind::allocate && handle == kNone) continue;  // it was given up
    ++result.calls;
    result.last_failed = false;
    if (event.kind == Kind::free) {
      policy.free(handle);
      handle = kNone;
      continue;
    }
    const bool grows = event.kind == Kind::grow;
    const Result<Handle> placed = grows ? policy.grow(handle, {event.bytes}) : policy.allocate({event.bytes});
    if (placed) {
      if (grows && *placed != handle) result.copied += Bytes{sizes[tensor]};
      handle = *placed;
      sizes[tensor] = event.bytes;
    } else if (placed.error().kind != ErrorKind::out_of_memory) {
      return placed.error();
    } else {
      ++result.failed;
      result.last_failed = true;
      if (grows) policy.free(handle);
      handle = kNone;
    }
  }
  return result;
}

Result<std::unique_ptr<Policy>> make_policy(const std::string& name, AddressSpace& space, const Trace& trace,
                                            Bytes page) {
  if (name == "direct") return std::unique_ptr<Policy>(std::make_unique<DirectPolicy>(space));
  const auto caching = [&](CachingOptions options) -> std::unique_ptr<Policy> {
    return std::make_unique<CachingPolicy>(space, options);
  };
  if (name == "caching") return caching({});
  if (name == "caching-no-trim") return caching({.gives_back = false});
  if (name == "expandable") return caching({.expandable = true});
  if (name == "arena") {
    RL_ASSIGN(auto arena, ArenaPolicy::make(space, trace.lifetimes()));
    return std::unique_ptr<Policy>(std::move(arena));
  }
  if (name == "paged") {
    RL_ASSIGN(auto paged, PagedPolicy::make(space, page));
    return std::unique_ptr<Policy>(std::move(paged));
  }
  return Error{.kind = ErrorKind::usage,
               .what = "there is no such allocator policy",
               .expected = "direct, caching, caching-no-trim, expandable, arena or paged",
               .found = name};
}

}  // namespace rl::alloc
