// CachingPolicy's expandable segments.

#include "base/checked.h"
#include "device/allocators/caching.h"

namespace rl::alloc {

CachingPolicy::Block* CachingPolicy::expand(Pool& pool, std::int64_t size) {
  Block* block = find_expandable(pool, size);
  if (block == nullptr) return nullptr;
  // From the block on: free or unmapped, then unmapped and free in turn. Mapping merges what it maps with the block.
  if (!block->mapped && !map_block(block, std::min(block->extent.bytes, size))) return nullptr;
  while (block->extent.bytes < size) {
    Block* next = block->after;
    if (!map_block(next, std::min(size - block->extent.bytes, next->extent.bytes))) return nullptr;
  }
  pool.free.erase(block);
  return block;
}

// The lowest address with room for `size`, free or not mapped yet.
CachingPolicy::Block* CachingPolicy::find_expandable(Pool& pool, std::int64_t size) {
  for (Block* block : pool.unmapped) {
    if (block->before != nullptr && block->before->available()) block = block->before;
    std::int64_t room = 0;
    for (const Block* next = block; room < size && next != nullptr && next->available(); next = next->after)
      room += next->extent.bytes;
    if (room >= size) return block;
  }
  // More addresses than memory, so that there is room at the end when granules in between were unmapped.
  const std::int64_t addresses = space_.capacity().count + space_.capacity().count / 8;
  const auto segment = space_.reserve(round_up(std::max(addresses, size), pool.granule()));
  if (!segment) return nullptr;
  segments_.emplace(segment->address, segment->bytes);
  Block* block = make_block(*segment, pool);
  block->mapped = false;
  pool.unmapped.insert(block);
  return block;
}

// Maps the granules of the block's first `size` bytes; what is mapped then is free, merged with its free neighbours.
bool CachingPolicy::map_block(Block* block, std::int64_t size) {
  Pool& pool = *block->pool;
  const Extent mapped{block->extent.address, round_up(size, pool.granule())};
  RL_CHECK(!block->mapped && mapped.bytes <= block->extent.bytes);
  if (!space_.map_pieces(mapped, pool.granule())) return false;
  add_reserved(mapped.bytes);
  pool.unmapped.erase(block);
  if (const std::int64_t rest = block->extent.bytes - mapped.bytes; rest > 0) {
    block->extent.bytes = mapped.bytes;
    Block* tail = make_block({mapped.end(), rest}, pool);
    tail->mapped = false;
    insert_after(block, tail);
    pool.unmapped.insert(tail);
  }
  block->mapped = true;
  if (Block* before = block->before; before != nullptr && merge(before, block)) block = before;
  if (block->after != nullptr) merge(block, block->after);
  pool.free.insert(block);
  return true;
}

// Gives the block's whole granules back; what lies in granules that others use as well stays free.
void CachingPolicy::unmap_block(Block* block) {
  Pool& pool = *block->pool;
  // Granules count from the segment's first address.
  const Block* first = block;
  while (first->before != nullptr) first = first->before;
  const Address origin = first->extent.address;
  const Address begin = origin + round_up(block->extent.address - origin, pool.granule());
  const Address end = origin + (block->extent.end() - origin) / pool.granule() * pool.granule();
  if (begin >= end) return;
  space_.unmap({begin, end - begin});
  add_reserved(begin - end);

  pool.free.erase(block);
  const Extent whole = block->extent;
  if (begin > whole.address) {
    block->extent.bytes = begin - whole.address;
    pool.free.insert(block);
    Block* middle = make_block({begin, end - begin}, pool);
    insert_after(block, middle);
    block = middle;
  } else {
    block->extent.bytes = end - begin;
  }
  if (end < whole.end()) {
    Block* tail = make_block({end, whole.end() - end}, pool);
    insert_after(block, tail);
    pool.free.insert(tail);
  }
  block->mapped = false;
  if (Block* before = block->before; before != nullptr && merge(before, block)) block = before;
  if (block->after != nullptr) merge(block, block->after);
  pool.unmapped.insert(block);
}

}  // namespace rl::alloc
