#include "device/allocators/caching.h"

#include "base/checked.h"

namespace rl::alloc {

CachingPolicy::CachingPolicy(AddressSpace& space, const CachingOptions& options) : space_(space), options_(options) {
  RL_CHECK(kSmallSegment % space.granularity() == 0);
  small_.small = true;
}

CachingPolicy::~CachingPolicy() {
  for (auto& [address, block] : blocks_) {
    if (!block->mapped || (!options_.expandable && block->before != nullptr)) continue;
    if (options_.expandable) {
      // Blocks lie at any address; granules are mapped. Unmap each run of mapped blocks once, from its first block.
      if (block->before != nullptr && block->before->mapped) continue;
      Extent run = block->extent;
      for (const Block* next = block->after; next != nullptr && next->mapped; next = next->after)
        run.bytes += next->extent.bytes;
      space_.unmap(run);
    } else {
      space_.unmap({address, segments_.at(address)});
    }
  }
  for (const auto& [address, bytes] : segments_) space_.release({address, bytes});
}

const char* CachingPolicy::name() const {
  if (options_.expandable) return "expandable";
  return options_.gives_back ? "caching" : "caching-no-trim";
}

std::int64_t CachingPolicy::segment_size(std::int64_t size) {
  if (size <= kSmallSize) return kSmallSegment;
  return size < kMinLargeAlloc ? kLargeSegment : round_up(size, kRoundLarge);
}

Result<Handle> CachingPolicy::allocate(Bytes bytes) {
  const std::int64_t size = round_up(std::max<std::int64_t>(bytes.count, 1), kMinBlock);
  Pool& pool = size <= kSmallSize ? small_ : large_;
  Block* block = find_free(pool, size);
  if (block == nullptr) block = new_block(pool, size);
  if (block == nullptr && options_.gives_back) {
    release_cached();
    block = new_block(pool, size);
  }
  if (block == nullptr) return out_of_memory(name(), size, space_.capacity() - usage().allocated);

  const std::int64_t rest = block->extent.bytes - size;
  if (pool.small || options_.expandable ? rest >= kMinBlock : rest > kSmallSize) split(block, size);
  block->used = true;
  block->requested = bytes.count;
  add_used(block->extent.bytes, block->requested);
  return block->extent.address;
}

void CachingPolicy::free(Handle handle) {
  const auto found = blocks_.find(handle);
  RL_CHECK(found != blocks_.end() && found->second->used);
  Block* block = found->second.get();
  add_used(-block->extent.bytes, -block->requested);
  block->used = false;
  block->requested = 0;
  // The block that keeps its place in blocks_ is the lower one.
  if (Block* before = block->before; before != nullptr && merge(before, block)) block = before;
  if (block->after != nullptr) merge(block, block->after);
  block->pool->free.insert(block);
}

bool CachingPolicy::grow_in_place(Handle handle, Bytes bytes) {
  Block& block = *blocks_.at(handle);
  if (bytes.count > block.extent.bytes) return false;
  add_used(0, bytes.count - block.requested);
  block.requested = bytes.count;
  return true;
}

void CachingPolicy::trim() {
  if (options_.gives_back) release_cached();
}

std::vector<Extent> CachingPolicy::extents(Handle handle) const {
  const Block& block = *blocks_.at(handle);
  RL_CHECK(block.used);
  return {block.extent};
}

CachingPolicy::Block* CachingPolicy::make_block(Extent extent, Pool& pool) {
  auto block = std::make_unique<Block>(Block{.extent = extent, .pool = &pool});
  const auto [at, added] = blocks_.emplace(extent.address, std::move(block));
  RL_CHECK(added);
  return at->second.get();
}

void CachingPolicy::erase_block(Block* block) {
  if (block->before != nullptr) block->before->after = block->after;
  if (block->after != nullptr) block->after->before = block->before;
  blocks_.erase(block->extent.address);
}

void CachingPolicy::insert_after(Block* block, Block* added) {
  added->before = block;
  added->after = block->after;
  if (block->after != nullptr) block->after->before = added;
  block->after = added;
}

CachingPolicy::Block* CachingPolicy::find_free(Pool& pool, std::int64_t size) {
  Block key{.extent = {0, size}};
  auto found = pool.free.lower_bound(&key);
  if (found == pool.free.end()) return nullptr;
  if (options_.expandable) {
    // A block that can grow counts with what it can grow to: the one with the least is the best fit.
    const auto reach = [](const Block* block) {
      return block->extent.bytes +
             (block->after != nullptr && !block->after->mapped ? block->after->extent.bytes : std::int64_t{0});
    };
    for (auto next = std::next(found); next != pool.free.end() && reach(*next) < reach(*found); ++next) found = next;
  }
  Block* block = *found;
  pool.free.erase(found);
  return block;
}

CachingPolicy::Block* CachingPolicy::new_block(Pool& pool, std::int64_t size) {
  if (options_.expandable) return expand(pool, size);
  const auto segment = space_.reserve(segment_size(size));
  if (!segment) return nullptr;
  if (!space_.map(*segment)) {
    space_.release(*segment);
    return nullptr;
  }
  segments_.emplace(segment->address, segment->bytes);
  add_reserved(segment->bytes);
  return make_block(*segment, pool);
}

void CachingPolicy::split(Block* block, std::int64_t size) {
  Block* rest = make_block({block->extent.address + size, block->extent.bytes - size}, *block->pool);
  insert_after(block, rest);
  block->extent.bytes = size;
  block->pool->free.insert(rest);
}

bool CachingPolicy::merge(Block* into, Block* from) {
  if (into->used || from->used || into->mapped != from->mapped) return false;
  RL_CHECK(into->after == from);
  // Either may be listed or not; its size is part of its place in the list of free blocks.
  Pool& pool = *into->pool;
  if (into->mapped) {
    pool.free.erase(into);
    pool.free.erase(from);
  } else {
    pool.unmapped.erase(from);
  }
  const std::int64_t bytes = from->extent.bytes;
  erase_block(from);
  into->extent.bytes += bytes;
  return true;
}

void CachingPolicy::release_cached() {
  for (Pool* pool : {&small_, &large_}) {
    const std::vector<Block*> free(pool->free.begin(), pool->free.end());
    for (Block* block : free) {
      if (options_.expandable) {
        unmap_block(block);
      } else if (block->before == nullptr && block->after == nullptr) {
        release_segment(block);
      }
    }
  }
}

void CachingPolicy::release_segment(Block* block) {
  const Extent segment = block->extent;
  RL_CHECK(segments_.at(segment.address) == segment.bytes);
  block->pool->free.erase(block);
  erase_block(block);
  segments_.erase(segment.address);
  space_.unmap(segment);
  space_.release(segment);
  add_reserved(-segment.bytes);
}

std::vector<CachingPolicy::BlockView> CachingPolicy::blocks() const {
  std::vector<BlockView> views;
  for (const auto& [address, block] : blocks_) views.push_back({block->extent, block->used, block->mapped});
  std::sort(views.begin(), views.end(),
            [](const BlockView& a, const BlockView& b) { return a.extent.address < b.extent.address; });
  return views;
}

void CachingPolicy::check_invariants() const {
  Usage counted;
  std::size_t free = 0, unmapped = 0;
  std::int64_t addresses = 0, segments = 0;
  for (const auto& [address, block] : blocks_) {
    RL_CHECK(block->extent.address == address && block->extent.bytes > 0 && address % kMinBlock == 0);
    RL_CHECK(block->after == nullptr ||
             (block->after->before == block.get() && block->after->extent.address == block->extent.end()));
    // Free neighbours have merged.
    RL_CHECK(block->used || block->after == nullptr || block->after->used || block->after->mapped != block->mapped);
    RL_CHECK(block->mapped || !block->used);
    if (block->before == nullptr) RL_CHECK(segments_.contains(address));
    addresses += block->extent.bytes;
    if (block->mapped) counted.reserved += Bytes{block->extent.bytes};
    if (block->used) {
      RL_CHECK(block->requested <= block->extent.bytes);
      counted.allocated += Bytes{block->extent.bytes};
      counted.requested += Bytes{block->requested};
    } else {
      ++(block->mapped ? free : unmapped);
      RL_CHECK(block->mapped ? block->pool->free.contains(block.get()) : block->pool->unmapped.contains(block.get()));
    }
  }
  for (const auto& [address, bytes] : segments_) segments += bytes;
  RL_CHECK(addresses == segments);
  RL_CHECK(free == small_.free.size() + large_.free.size());
  RL_CHECK(unmapped == small_.unmapped.size() + large_.unmapped.size());
  RL_CHECK(counted.reserved == usage().reserved && counted.allocated == usage().allocated);
  RL_CHECK(counted.requested == usage().requested);
}

}  // namespace rl::alloc
