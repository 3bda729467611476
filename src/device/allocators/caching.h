#pragma once
// Best fit over cached segments, by the rules of PyTorch's CUDACachingAllocator with its default settings and one
// stream (pytorch/pytorch, c10/cuda/CUDACachingAllocator.cpp, commit 001074d).
//
// Sizes are rounded up to 512 B. Up to 1 MiB a tensor comes from the small pool, whose segments are 2 MiB; above it
// from the large pool, whose segments are 20 MiB for tensors below 10 MiB and else the tensor's size rounded up to
// 2 MiB. The smallest free block that is large enough is taken (the lowest of equal ones) and split where the rest is
// at least 512 B (small pool) or more than 1 MiB (large pool). A freed block merges with its free neighbours in the
// segment. When the device has no memory for a new segment, segments that are wholly free go back to it and the
// request is tried once more; trim() (torch.cuda.empty_cache) does the same at any time.
//
// Expandable segments (PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True): a pool is one range of 9/8 of the device's
// addresses; memory is mapped into it in granules of 2 MiB (small) and 20 MiB (large), at the lowest address where a
// tensor fits; any rest of at least 512 B is split off; trim() unmaps the granules that are wholly free.

#include <memory>
#include <set>
#include <unordered_map>

#include "device/allocators/policy.h"

namespace rl::alloc {

struct CachingOptions {
  bool expandable = false;
  bool gives_back = true;  // false: neither trim() nor a failed allocation returns anything to the device
};

class CachingPolicy final : public Policy {
 public:
  static constexpr std::int64_t kMinBlock = 512;
  static constexpr std::int64_t kSmallSize = 1 << 20;       // the largest tensor of the small pool
  static constexpr std::int64_t kSmallSegment = 2 << 20;    // and the granule of its expandable one
  static constexpr std::int64_t kLargeSegment = 20 << 20;   // likewise
  static constexpr std::int64_t kMinLargeAlloc = 10 << 20;  // from here on a segment is as large as its tensor
  static constexpr std::int64_t kRoundLarge = 2 << 20;

  CachingPolicy(AddressSpace& space, const CachingOptions& options);
  ~CachingPolicy() override;
  const char* name() const override;
  Result<Handle> allocate(Bytes bytes) override;
  void free(Handle handle) override;
  void trim() override;
  std::vector<Extent> extents(Handle handle) const override;
  void check_invariants() const override;
  // All blocks by address, for tests: free and used ones, also unmapped parts of expandable segments.
  struct BlockView {
    Extent extent;
    bool used = false, mapped = true;
  };
  std::vector<BlockView> blocks() const;

 protected:
  bool grow_in_place(Handle handle, Bytes bytes) override;

 private:
  struct Pool;
  struct Block {
    Extent extent;
    std::int64_t requested = 0;
    Pool* pool = nullptr;
    Block *before = nullptr, *after = nullptr;  // neighbours in the segment
    bool used = false, mapped = true;
    bool available() const { return !used; }
  };
  struct BySize {
    bool operator()(const Block* a, const Block* b) const {
      return a->extent.bytes != b->extent.bytes ? a->extent.bytes < b->extent.bytes
                                                : a->extent.address < b->extent.address;
    }
  };
  struct ByAddress {
    bool operator()(const Block* a, const Block* b) const { return a->extent.address < b->extent.address; }
  };
  struct Pool {
    bool small = false;
    std::set<Block*, BySize> free;
    std::set<Block*, ByAddress> unmapped;
    std::int64_t granule() const { return small ? kSmallSegment : kLargeSegment; }
  };

  static std::int64_t segment_size(std::int64_t size);
  Block* make_block(Extent extent, Pool& pool);
  void erase_block(Block* block);
  Block* find_free(Pool& pool, std::int64_t size);
  Block* new_block(Pool& pool, std::int64_t size);  // from the device; null: no memory
  void split(Block* block, std::int64_t size);      // the rest becomes a free block after it
  void insert_after(Block* block, Block* added);
  bool merge(Block* into, Block* from);  // from vanishes; false: they cannot
  void release_cached();
  void release_segment(Block* block);

  // Expandable segments (expandable.cpp).
  Block* expand(Pool& pool, std::int64_t size);
  Block* find_expandable(Pool& pool, std::int64_t size);
  bool map_block(Block* block, std::int64_t size);
  void unmap_block(Block* block);

  AddressSpace& space_;
  CachingOptions options_;
  Pool small_, large_;
  std::unordered_map<Address, std::unique_ptr<Block>> blocks_;
  std::unordered_map<Address, std::int64_t> segments_;  // reservations of the space
};

}  // namespace rl::alloc
