// A device's address space over a driver that keeps the books of CUDA's, breaks no rule in silence, and fails when
// told.

#include "device/virtual_memory.h"

#include <cstring>
#include <random>

#include "check/result.h"
#include "device/allocators/policy_resource.h"
#include "device/allocators/resource_policy.h"
#include "device/allocators/trace.h"

namespace rl::alloc {
namespace {

using namespace literals;
using Kind = Event::Kind;

constexpr std::int64_t kMiB = 1 << 20;

// The rules are those of the driver API's documentation: cuMemUnmap takes whole mappings, cuMemSetAccess mapped ranges,
// cuMemAddressFree reservations without mappings.
class FakeDriver final : public VirtualMemory {
 public:
  explicit FakeDriver(Bytes memory, std::int64_t fail_at = 0) : memory_(memory), fail_at_(fail_at) {}

  std::int64_t granularity() const override { return 2 * kMiB; }
  Result<Address> reserve(std::int64_t bytes) override {
    RL_TRY(fail("reserve"));
    const Address address = next_;
    next_ += bytes + 2 * kMiB;
    reservations.emplace(address, bytes);
    return address;
  }
  void free_addresses(Extent extent) noexcept override {
    RL_CHECK(reservations.contains(extent.address) && reservations.at(extent.address) == extent.bytes);
    for (const auto& [address, mapping] : mappings) RL_CHECK(address < extent.address || address >= extent.end());
    reservations.erase(extent.address);
  }
  Result<Block> create(std::int64_t bytes) override {
    RL_TRY(fail("create"));
    if (in_use() + bytes > memory_.count) return Error{.kind = ErrorKind::out_of_memory, .what = "cuMemCreate failed"};
    blocks[++last_] = {bytes, true};
    return last_;
  }
  void destroy(Block block) noexcept override {
    blocks.at(block).held = false;
    drop(block);
  }
  Status map(Extent extent, Block block) override {
    RL_TRY(fail("map"));
    const auto reservation = std::prev(reservations.upper_bound(extent.address));
    RL_CHECK(extent.end() <= reservation->first + reservation->second && blocks.at(block).bytes == extent.bytes);
    for (const auto& [address, mapping] : mappings)
      RL_CHECK(address + mapping.bytes <= extent.address || address >= extent.end());
    mappings[extent.address] = {extent.bytes, block, false};
    return ok();
  }
  void unmap(Extent extent) noexcept override {
    const Mapping mapping = mappings.at(extent.address);
    RL_CHECK_MSG(mapping.bytes == extent.bytes, "part of a mapping");
    mappings.erase(extent.address);
    drop(mapping.block);
  }
  Status allow_access(Extent extent) override {
    RL_TRY(fail("allow_access"));
    for (Address at = extent.address; at < extent.end();) {
      Mapping& mapping = mappings.at(at);
      mapping.access = true;
      at += mapping.bytes;
    }
    return ok();
  }

  std::int64_t in_use() const {
    std::int64_t bytes = 0;
    for (const auto& [handle, block] : blocks) bytes += block.bytes;
    return bytes;
  }
  bool clean() const { return reservations.empty() && mappings.empty() && blocks.empty(); }
  bool accessible(Extent extent) const {
    for (Address at = extent.address; at < extent.end();) {
      auto mapping = mappings.upper_bound(at);
      if (mapping == mappings.begin()) return false;
      --mapping;
      if (!mapping->second.access || mapping->first + mapping->second.bytes <= at) return false;
      at = mapping->first + mapping->second.bytes;
    }
    return true;
  }
  std::int64_t calls = 0;  // that can fail

  struct Physical {
    std::int64_t bytes = 0;
    bool held = false;
  };
  struct Mapping {
    std::int64_t bytes = 0;
    Block block = 0;
    bool access = false;
  };
  std::map<Address, std::int64_t> reservations;
  std::map<Block, Physical> blocks;
  std::map<Address, Mapping> mappings;

 private:
  Status fail(const char* call) {
    if (++calls != fail_at_) return ok();
    return Error{.kind = ErrorKind::out_of_memory, .what = std::string(call) + " made to fail"};
  }
  void drop(Block block) {
    for (const auto& [address, mapping] : mappings)
      if (mapping.block == block) return;
    if (!blocks.at(block).held) blocks.erase(block);
  }
  Bytes memory_;
  std::int64_t fail_at_;
  Address next_ = std::int64_t{1} << 40;
  Block last_ = 0;
};

Trace random_trace(std::uint32_t seed, int events) {
  std::mt19937 random(seed);
  Trace trace{.name = "random", .events = {}};
  std::vector<std::int32_t> live;
  for (int i = 0; i < events; ++i) {
    if (i % 60 == 59) trace.events.push_back({Kind::trim});
    if (live.empty() || random() % 5 < 3) {
      const std::int64_t bytes = random() % 3 == 0 ? 1 + random() % 5000 : 1 + random() % (30 * kMiB);
      live.push_back(static_cast<std::int32_t>(trace.tensors()));
      trace.events.push_back({Kind::allocate, live.back(), bytes});
    } else {
      const std::size_t at = random() % live.size();
      trace.events.push_back({Kind::free, live[at]});
      live.erase(live.begin() + static_cast<std::ptrdiff_t>(at));
    }
  }
  return trace;
}

TEST(MappedSpace, PoliciesObeyTheDriversRulesAndReachWhatTheyHandOut) {
  for (const char* name : {"direct", "caching", "caching-no-trim", "expandable", "arena", "paged"})
    for (std::uint32_t seed = 1; seed <= 6; ++seed) {
      SCOPED_TRACE(fmt::format("{} {}", name, seed));
      FakeDriver driver(4_GiB);
      {
        MappedSpace space(driver, 2_GiB);
        const Trace trace = random_trace(seed, 300);
        ASSERT_VALUE(const auto policy, make_policy(name, space, trace, 1_MiB));
        ASSERT_VALUE(const Replay replayed, replay(*policy, trace));
        policy->check_invariants();
        EXPECT_EQ(driver.in_use(), policy->usage().reserved.count) << "the driver's count is the policy's";
        EXPECT_EQ(space.free().count, (2_GiB).count - driver.in_use());
        EXPECT_LE(policy->peak().reserved, 2_GiB) << "the rest of the device is left alone";
        for (const Handle handle : replayed.handles) {
          if (handle < 0) continue;
          for (const Extent& extent : policy->extents(handle)) EXPECT_TRUE(driver.accessible(extent));
        }
      }
      EXPECT_TRUE(driver.clean());
    }
}

TEST(MappedSpace, ACallThatFailsLeavesNothingWhicheverItIs) {
  const Trace trace = random_trace(3, 40);
  for (const char* name : {"direct", "caching", "expandable", "arena", "paged"}) {
    std::int64_t n = 1;
    for (;; ++n) {
      SCOPED_TRACE(fmt::format("{}, call {}", name, n));
      FakeDriver driver(4_GiB, n);
      {
        MappedSpace space(driver, 2_GiB);
        const auto policy = make_policy(name, space, trace, 1_MiB);
        if (policy) {
          ASSERT_VALUE(const Replay replayed, replay(**policy, trace));
          (*policy)->check_invariants();
          ASSERT_EQ(driver.in_use(), (*policy)->usage().reserved.count);
          // Expandable segments and cached ones may find the place elsewhere.
          if (std::string_view(name) == "direct") {
            EXPECT_EQ(replayed.failed, driver.calls >= n ? 1 : 0);
          }
        } else {
          EXPECT_EQ(policy.error().kind, ErrorKind::out_of_memory);
        }
      }
      ASSERT_TRUE(driver.clean());
      if (driver.calls < n) break;
    }
    EXPECT_GT(n, 3) << name;
  }
}

TEST(MappedSpace, PartsOfAMappingCannotBeUnmappedPiecesCan) {
  FakeDriver driver(64_MiB);
  MappedSpace space(driver, 32_MiB);
  ASSERT_VALUE(const Extent extent, space.reserve(16 * kMiB));
  ASSERT_OK(space.map({extent.address, 8 * kMiB}));
  ASSERT_OK(space.map_pieces({extent.address + 8 * kMiB, 8 * kMiB}, 4 * kMiB));
  EXPECT_DEATH(space.unmap({extent.address, 4 * kMiB}), "mapped");
  EXPECT_DEATH(space.release(extent), "mapped");
  space.unmap({extent.address + 12 * kMiB, 4 * kMiB});
  EXPECT_EQ(space.free(), 20_MiB);
  ASSERT_OK(space.map({extent.address + 12 * kMiB, 4 * kMiB}));
  ASSERT_VALUE(const Extent more, space.reserve(32 * kMiB));
  EXPECT_EQ(space.map(more).error().kind, ErrorKind::out_of_memory) << "more than was set aside, though it is there";
  EXPECT_EQ(driver.in_use(), 16 * kMiB);
}

TEST(PolicyResource, IsAnArenaWhoseSegmentGrows) {
  FakeDriver driver(1_GiB);
  {
    MappedSpace space(driver, 512_MiB);
    ASSERT_VALUE(auto policy, make_policy("expandable", space, {}, 1_MiB));
    PolicyResource arena(std::move(policy));
    ASSERT_VALUE(void* const small, arena.allocate(Bytes{100}));
    ASSERT_VALUE(void* const first, arena.allocate(30_MiB));
    ASSERT_VALUE(void* const second, arena.allocate(50_MiB));
    EXPECT_EQ(driver.reservations.size(), 2u) << "one segment for small tensors, one for large ones";
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(second) % kAlignment, 0u);
    EXPECT_EQ(arena.usage().requested.count, 100 + 80 * kMiB);
    EXPECT_EQ(arena.allocate(500_MiB).error().kind, ErrorKind::out_of_memory);
    EXPECT_EQ(arena.allocate({std::numeric_limits<std::int64_t>::max()}).error().kind, ErrorKind::out_of_memory);
    arena.deallocate(first, 30_MiB);
    arena.deallocate(second, 50_MiB);
    arena.trim();
    EXPECT_EQ(driver.in_use(), 2 * kMiB) << "the small one's granule";
    arena.deallocate(small, Bytes{100});
  }
  EXPECT_TRUE(driver.clean());
}

TEST(ResourcePolicy, KeepsBooksOverTheDriversOwnAllocators) {
  CountingResource memory(host_memory());
  Bytes kept;
  {
    ResourcePolicy direct("direct", memory, 2 * kMiB, 64_MiB, {});
    ASSERT_VALUE(const Handle a, direct.allocate(3_MiB));
    EXPECT_EQ(memory.live(), 4_MiB) << "whole pages, so that a tensor may grow in its last one";
    ASSERT_VALUE(const Handle grown, direct.grow(a, 4_MiB));
    EXPECT_EQ(grown, a);
    std::memset(reinterpret_cast<void*>(a), 1, static_cast<std::size_t>(4 * kMiB));
    ASSERT_VALUE(const Handle moved, direct.grow(a, 5_MiB));
    EXPECT_NE(moved, a);
    EXPECT_EQ(direct.usage().reserved, 6_MiB);
    EXPECT_EQ(direct.usage().requested, 5_MiB);
    EXPECT_EQ(direct.allocate(60_MiB).error().kind, ErrorKind::out_of_memory) << "more than its capacity";
    EXPECT_EQ(direct.calls(), 3);
    direct.check_invariants();
    direct.free(moved);
    EXPECT_EQ(direct.usage().reserved, 0_MiB);
    ASSERT_OK(direct.allocate(1_MiB));
  }
  EXPECT_EQ(memory.live(), 0_MiB) << "what is left goes with it";

  // One that keeps what it was given.
  ResourcePolicy pool("pool", memory, 2 * kMiB, 64_MiB,
                      {.trim =
                           [&] {
                             kept = {};
                             return ok();
                           },
                       .reserved = [&] { return Result<Bytes>(memory.live() + kept); }});
  ASSERT_VALUE(const Handle b, pool.allocate(8_MiB));
  kept = 8_MiB;
  pool.free(b);
  pool.trim();
  EXPECT_EQ(pool.usage().reserved, 0_MiB);
  EXPECT_EQ(pool.peak().reserved, 8_MiB);
}

}  // namespace
}  // namespace rl::alloc
