// The allocator policies: books that hold over random traces, and small cases whose answers follow from the rules.

#include <random>

#include "check/result.h"
#include "device/allocators/arena.h"
#include "device/allocators/caching.h"
#include "device/allocators/direct.h"
#include "device/allocators/paged.h"
#include "device/allocators/trace.h"
#include "device/allocators/virtual_space.h"

namespace rl::alloc {
namespace {

using namespace literals;
using Kind = Event::Kind;
using testing::ElementsAre;

constexpr std::int64_t kMiB = 1 << 20;

TEST(LifetimePlan, ValuesAliveTogetherNeverOverlapAndOthersShare) {
  std::mt19937 random(3);
  for (int round = 0; round < 50; ++round) {
    std::vector<Lifetime> values(40);
    std::int64_t sum = 0;
    for (Lifetime& v : values) {
      v.bytes = 1 + static_cast<std::int64_t>(random() % 5000);
      v.first = static_cast<std::int64_t>(random() % 30);
      v.last = v.first + static_cast<std::int64_t>(random() % 5);
      sum += v.bytes;
    }
    const LifetimePlan plan = plan_lifetimes(values);
    for (std::size_t a = 0; a < values.size(); ++a) {
      EXPECT_EQ(plan.offset[a] % kAlignment, 0);
      EXPECT_LE(plan.offset[a] + values[a].bytes, plan.total.count);
      for (std::size_t b = 0; b < a; ++b) {
        const bool meet = values[a].first <= values[b].last && values[b].first <= values[a].last;
        const bool apart =
            plan.offset[a] + values[a].bytes <= plan.offset[b] || plan.offset[b] + values[b].bytes <= plan.offset[a];
        EXPECT_TRUE(!meet || apart) << a << " and " << b;
      }
    }
    EXPECT_LT(plan.total.count, sum / 2);
  }
}

TEST(LifetimePlan, AChainOfEqualValuesNeedsTwoPlaces) {
  std::vector<Lifetime> chain;
  for (int i = 0; i < 10; ++i) chain.push_back({.bytes = 1024, .first = i, .last = i + 1});
  EXPECT_EQ(plan_lifetimes(chain).total, 2_KiB);
}

TEST(IntervalSet, AgreesWithABitPerUnit) {
  std::mt19937 random(5);
  IntervalSet set;
  std::vector<bool> bits(64);
  for (int round = 0; round < 4000; ++round) {
    const Address begin = random() % 60;
    const Extent extent{begin, 1 + static_cast<std::int64_t>(random() % 4)};
    const auto from = bits.begin() + begin, to = from + extent.bytes;
    const bool all = std::count(from, to, true) == extent.bytes, none = std::count(from, to, true) == 0;
    ASSERT_EQ(set.contains(extent), all);
    ASSERT_EQ(set.meets(extent), !none);
    if (none) set.insert(extent);
    if (all) set.erase(extent);
    if (none || all) std::fill(from, to, none);
    ASSERT_EQ(set.bytes(), std::count(bits.begin(), bits.end(), true));
    std::int64_t runs = 0, run = 0, longest = 0;
    for (const bool bit : bits) {
      run = bit ? run + 1 : 0;
      runs += run == 1;
      longest = std::max(longest, run);
    }
    ASSERT_EQ(set.intervals(), runs) << "touching intervals are one";
    EXPECT_FALSE(set.first_fit(longest + 1));
    if (longest > 0) {
      ASSERT_TRUE(set.first_fit(longest));
    }
  }
}

TEST(VirtualSpace, EndsTheProgramWhereAPolicyBreaksTheRules) {
  VirtualSpace space(64_MiB);
  ASSERT_VALUE(const Extent extent, space.reserve(8 * kMiB));
  EXPECT_DEATH(space.unmap(extent), "contains") << "not mapped";
  ASSERT_OK(space.map(extent));
  EXPECT_EQ(space.free(), 56_MiB);
  EXPECT_DEATH((void)space.map(extent), "meets") << "mapped twice";
  EXPECT_DEATH((void)space.map({extent.end(), 2 * kMiB}), "meets") << "not reserved";
  EXPECT_DEATH(space.release(extent), "meets") << "still mapped";
  EXPECT_DEATH((void)space.reserve(kMiB), "whole_pages");
  space.unmap(extent);
  space.release(extent);
  EXPECT_EQ(space.reserved(), 0_MiB);
  EXPECT_EQ(space.calls(), 2);
}

TEST(VirtualSpace, AnyFreePagesServeButNotMoreThanThereAre) {
  VirtualSpace space(6_MiB);
  ASSERT_VALUE(const Extent a, space.reserve(2 * kMiB));
  ASSERT_VALUE(const Extent b, space.reserve(2 * kMiB));
  ASSERT_OK(space.map(a));
  ASSERT_OK(space.map(b));
  space.unmap(a);
  ASSERT_VALUE(const Extent apart, space.reserve(4 * kMiB));
  EXPECT_OK(space.map(apart)) << "the pages free now lie before and after b";
  EXPECT_EQ(space.map(a).error().kind, ErrorKind::out_of_memory);
}

// What is wrong with where the tensors lie; empty if nothing is.
std::string faults_of(const std::vector<std::vector<Extent>>& tensors, const std::vector<std::int64_t>& sizes,
                      std::int64_t alignment) {
  std::vector<Extent> all;
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    std::int64_t room = 0;
    for (const Extent& extent : tensors[t]) {
      if (extent.address % alignment != 0) return "not aligned";
      room += extent.bytes;
      all.push_back(extent);
    }
    if (room < sizes[t]) return "too small";
  }
  std::sort(all.begin(), all.end(), [](const Extent& a, const Extent& b) { return a.address < b.address; });
  for (std::size_t i = 1; i < all.size(); ++i)
    if (all[i].address < all[i - 1].end()) return "overlap";
  return "";
}

TEST(Faults, OfPlacesAreSeen) {
  EXPECT_EQ(faults_of({{{512, 512}}, {{0, 512}, {1024, 512}}}, {500, 1000}, 512), "");
  EXPECT_EQ(faults_of({{{512, 512}}, {{0, 513}}}, {500, 513}, 512), "overlap");
  EXPECT_EQ(faults_of({{{256, 512}}}, {500}, 512), "not aligned");
  EXPECT_EQ(faults_of({{{0, 512}, {512, 512}}}, {1025}, 512), "too small");
}

// Sizes of all kinds: small ones, around each threshold of the caching policy, and large ones.
Trace random_trace(std::uint32_t seed, int events, double keep) {
  std::mt19937 random(seed);
  const auto below = [&](std::int64_t n) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n));
  };
  const auto size = [&]() -> std::int64_t {
    switch (below(6)) {
      case 0:
        return 1 + below(4000);
      case 1:
        return kMiB - 600 + below(1200);
      case 2:
        return 10 * kMiB - 2 + below(4);
      case 3:
        return 1 + below(30 * kMiB);
      default:
        return 1 + below(4 * kMiB);
    }
  };
  Trace trace{.name = "random", .events = {}};
  std::vector<std::pair<std::int32_t, std::int64_t>> live;
  std::int32_t tensors = 0;
  for (int i = 0; i < events; ++i) {
    const bool add = live.empty() || static_cast<double>(below(1000)) < 1000 * keep;
    if (below(60) == 0) trace.events.push_back({Kind::trim});
    if (add) {
      live.emplace_back(tensors, size());
      trace.events.push_back({Kind::allocate, tensors++, live.back().second});
      continue;
    }
    auto& chosen = live[static_cast<std::size_t>(below(std::ssize(live)))];
    if (below(3) == 0) {
      chosen.second += below(2 * kMiB);
      trace.events.push_back({Kind::grow, chosen.first, chosen.second});
    } else {
      trace.events.push_back({Kind::free, chosen.first});
      std::swap(chosen, live.back());
      live.pop_back();
    }
  }
  return trace;
}

struct Case {
  const char* policy;
  std::int64_t alignment;
  bool gives_back;  // with nothing in use, trim() leaves nothing reserved
};
class EachPolicy : public testing::TestWithParam<Case> {};

TEST_P(EachPolicy, KeepsItsBooksOverRandomTraces) {
  std::int64_t failed = 0;
  for (std::uint32_t seed = 0; seed < 12; ++seed) {
    const Trace trace = random_trace(seed, 400, seed % 2 == 0 ? 0.5 : 0.62);
    ASSERT_OK(trace.validate());
    const bool arena = std::string_view(GetParam().policy) == "arena";
    VirtualSpace space(arena ? 4_GiB : 256_MiB);
    {
      ASSERT_VALUE(const auto policy, make_policy(GetParam().policy, space, trace, {3 * kMiB}));
      EXPECT_STREQ(policy->name(), GetParam().policy);
      std::map<std::int32_t, Handle> handles;
      std::map<std::int32_t, std::int64_t> sizes;
      for (const Event& event : trace.events) {
        if (event.kind == Kind::trim) policy->trim();
        if (event.kind == Kind::allocate) {
          const auto handle = policy->allocate({event.bytes});
          if (!handle) {
            ASSERT_EQ(handle.error().kind, ErrorKind::out_of_memory);
          }
          failed += !handle;
          if (handle) handles[event.tensor] = *handle, sizes[event.tensor] = event.bytes;
        }
        if (event.kind == Kind::grow && handles.contains(event.tensor)) {
          if (const auto grown = policy->grow(handles[event.tensor], {event.bytes}))
            handles[event.tensor] = *grown, sizes[event.tensor] = event.bytes;
        }
        if (event.kind == Kind::free && handles.contains(event.tensor)) {
          policy->free(handles[event.tensor]);
          handles.erase(event.tensor);
          sizes.erase(event.tensor);
        }
        policy->check_invariants();
        std::int64_t requested = 0;
        std::vector<std::vector<Extent>> places;
        std::vector<std::int64_t> wanted;
        for (const auto& [tensor, handle] : handles) {
          places.push_back(policy->extents(handle));
          wanted.push_back(sizes[tensor]);
          requested += sizes[tensor];
        }
        ASSERT_EQ(faults_of(places, wanted, GetParam().alignment), "");
        ASSERT_EQ(policy->usage().requested.count, requested);
        ASSERT_EQ(policy->usage().reserved, space.capacity() - space.free());
        ASSERT_LE(policy->usage().requested, policy->usage().allocated);
        if (!arena) {
          ASSERT_LE(policy->usage().allocated, policy->usage().reserved);
        }
        ASSERT_GE(policy->peak().allocated, policy->usage().allocated);
      }
      for (const auto& [tensor, handle] : handles) {
        if (tensor % 2 == 0) policy->free(handle);
      }
      policy->check_invariants();
      for (const auto& [tensor, handle] : handles) {
        if (tensor % 2 != 0) policy->free(handle);
      }
      policy->trim();
      policy->check_invariants();
      EXPECT_EQ(policy->usage().allocated.count, 0);
      EXPECT_EQ(policy->usage().reserved.count == 0, GetParam().gives_back);
    }
    EXPECT_EQ(space.free(), space.capacity()) << "a policy leaves nothing behind";
    EXPECT_EQ(space.reserved().count, 0);
  }
  if (std::string_view(GetParam().policy) != "arena") {
    EXPECT_GT(failed, 0) << "the traces are large enough to fail";
  }
}

// Whoever holds nothing can be asked for everything.
TEST_P(EachPolicy, HasTheWholeSpaceForOneTensor) {
  VirtualSpace space(120_MiB);
  const Trace trace = Trace{.name = "one", .events = {}}.with(120_MiB);
  ASSERT_VALUE(const auto policy, make_policy(GetParam().policy, space, trace, 2_MiB));
  ASSERT_VALUE(const Handle handle, policy->allocate(120_MiB));
  EXPECT_FALSE(policy->allocate({1}));
  policy->free(handle);
}

INSTANTIATE_TEST_SUITE_P(All, EachPolicy,
                         testing::Values(Case{"direct", 2 * kMiB, true}, Case{"caching", 512, true},
                                         Case{"caching-no-trim", 512, false}, Case{"expandable", 512, true},
                                         Case{"arena", kAlignment, false}, Case{"paged", kMiB, false}),
                         [](const auto& one) {
                           std::string name = one.param.policy;
                           std::erase(name, '-');
                           return name;
                         });

// Blocks as text, one letter each (U used, F free, - not mapped) with the size in KiB.
std::string shape(const CachingPolicy& policy) {
  std::string text;
  for (const auto& block : policy.blocks()) {
    if (block.extent.bytes > (std::int64_t{1} << 30)) continue;  // the end of an expandable segment
    text += fmt::format("{}{}{}", text.empty() ? "" : " ",
                        !block.mapped ? '-'
                        : block.used  ? 'U'
                                      : 'F',
                        static_cast<double>(block.extent.bytes) / 1024);
  }
  return text;
}

class Caching : public testing::Test {
 protected:
  Handle must(CachingPolicy& policy, std::int64_t bytes) {
    const auto handle = policy.allocate({bytes});
    RL_CHECK(handle.has_value());
    return *handle;
  }
  VirtualSpace space_{1_GiB};
  CachingPolicy policy_{space_, {}};
};

TEST_F(Caching, SmallTensorsShareSegmentsOfTwoMebibytes) {
  must(policy_, 1);
  EXPECT_EQ(shape(policy_), "U0.5 F2047.5");
  must(policy_, 513);
  EXPECT_EQ(shape(policy_), "U0.5 U1 F2046.5");
  must(policy_, kMiB);
  EXPECT_EQ(shape(policy_), "U0.5 U1 U1024 F1022.5");
  EXPECT_EQ(policy_.usage().reserved, 2_MiB);
  EXPECT_EQ(policy_.usage().requested.count, 1 + 513 + kMiB);
  must(policy_, kMiB);
  EXPECT_EQ(policy_.usage().reserved, 4_MiB) << "1022.5 KiB are too few";
}

TEST_F(Caching, SegmentsFollowTheSizeOfTheTensor) {
  must(policy_, kMiB + 1);
  EXPECT_EQ(shape(policy_), "U1024.5 F19455.5") << "above 1 MiB: 20 MiB, split";
  must(policy_, 10 * kMiB - 1);
  EXPECT_EQ(shape(policy_), "U1024.5 U10240 F9215.5") << "rounded to 512 B first, so it is 10 MiB";
  must(policy_, 10 * kMiB);
  EXPECT_EQ(policy_.usage().reserved, 30_MiB) << "from 10 MiB on a segment of its own size";
  must(policy_, 11 * kMiB + 1);
  EXPECT_EQ(policy_.usage().reserved, 42_MiB) << "rounded up to 2 MiB";
}

TEST_F(Caching, ALargeBlockIsSplitOnlyWhereMoreThanAMebibyteIsLeft) {
  must(policy_, 11 * kMiB);
  EXPECT_EQ(shape(policy_), "U12288") << "1 MiB is left: it stays with the tensor";
  EXPECT_EQ(policy_.usage().allocated, 12_MiB);
  policy_.free(policy_.blocks()[0].extent.address);
  must(policy_, 11 * kMiB - 512);
  EXPECT_EQ(shape(policy_), "U11263.5 F1024.5");
}

TEST_F(Caching, ASmallBlockIsSplitFrom512BytesOn) {
  must(policy_, kMiB);
  must(policy_, kMiB - 512);
  EXPECT_EQ(shape(policy_), "U1024 U1023.5 F0.5");
}

TEST_F(Caching, TheSmallestBlockThatIsLargeEnoughIsTaken) {
  const Handle six = must(policy_, 6 * kMiB);
  must(policy_, 2 * kMiB);
  const Handle three = must(policy_, 3 * kMiB);
  must(policy_, 2 * kMiB);
  policy_.free(six);
  policy_.free(three);
  EXPECT_EQ(shape(policy_), "F6144 U2048 F3072 U2048 F7168");
  EXPECT_EQ(must(policy_, 3 * kMiB), three);
  EXPECT_EQ(must(policy_, 4 * kMiB), six);
  EXPECT_EQ(shape(policy_), "U4096 F2048 U2048 U3072 U2048 F7168");
}

TEST_F(Caching, FreedNeighboursMergeInAnyOrder) {
  for (const std::vector<std::size_t>& order : {std::vector<std::size_t>{0, 1, 2}, {2, 1, 0}, {0, 2, 1}, {1, 0, 2}}) {
    VirtualSpace space(1_GiB);
    CachingPolicy policy(space, {});
    std::vector<Handle> handles;
    for (int i = 0; i < 3; ++i) handles.push_back(must(policy, 4 * kMiB));
    for (const std::size_t i : order) policy.free(handles[i]);
    EXPECT_EQ(shape(policy), "F20480");
  }
}

TEST_F(Caching, TrimGivesBackSegmentsThatAreWhollyFree) {
  const Handle a = must(policy_, 30 * kMiB);
  const Handle b = must(policy_, 4 * kMiB);
  must(policy_, 100);
  const Handle c = must(policy_, 5 * kMiB);
  policy_.free(a);
  policy_.free(c);
  EXPECT_EQ(policy_.usage().reserved, 52_MiB);
  policy_.trim();
  EXPECT_EQ(policy_.usage().reserved, 22_MiB) << "the segment of b is in use in part";
  policy_.free(b);
  policy_.trim();
  EXPECT_EQ(policy_.usage().reserved, 2_MiB);
}

// 64 MiB: a tensor of 40 MiB is freed, one of 2 MiB takes a corner of its segment. 62 MiB are free then.
Result<Handle> fifty_after_a_corner(Policy& policy) {
  RL_ASSIGN(const Handle forty, policy.allocate(40_MiB));
  policy.free(forty);
  RL_TRY(policy.allocate(2_MiB));
  policy.trim();
  return policy.allocate(50_MiB);
}

TEST(Fragmentation, ACornerOfASegmentKeepsAllOfIt) {
  const auto outcome = [](const char* name) {
    VirtualSpace space(64_MiB);
    const Trace trace{.name = "corner",
                      .events = {{Kind::allocate, 0, 40 * kMiB},
                                 {Kind::free, 0},
                                 {Kind::allocate, 1, 2 * kMiB},
                                 {Kind::allocate, 2, 50 * kMiB}}};
    auto policy = make_policy(name, space, trace, 2_MiB);
    RL_CHECK(policy.has_value());
    return fifty_after_a_corner(**policy).has_value();
  };
  EXPECT_FALSE(outcome("caching"));
  EXPECT_FALSE(outcome("caching-no-trim"));
  EXPECT_TRUE(outcome("direct"));
  EXPECT_TRUE(outcome("expandable"));
  EXPECT_TRUE(outcome("arena"));
  EXPECT_TRUE(outcome("paged"));
}

TEST(Fragmentation, OnlyAPolicyThatGivesBackIsRescuedByTheRetry) {
  for (const bool gives_back : {true, false}) {
    VirtualSpace space(64_MiB);
    CachingPolicy policy(space, {.gives_back = gives_back});
    ASSERT_VALUE(const Handle handle, policy.allocate(40_MiB));
    policy.free(handle);
    const auto fifty = policy.allocate(50_MiB);
    EXPECT_EQ(fifty.has_value(), gives_back);
    if (!fifty) {
      EXPECT_EQ(fifty.error().kind, ErrorKind::out_of_memory);
      EXPECT_EQ(fifty.error().found, "50.0 MiB");
    }
  }
}

TEST(Expandable, MapsGranulesAtTheLowestAddressAndUnmapsWholeOnes) {
  VirtualSpace space(1_GiB);
  CachingPolicy policy(space, {.expandable = true});
  ASSERT_VALUE(const Handle a, policy.allocate(30_MiB));
  EXPECT_EQ(shape(policy), "U30720 F10240") << "two granules of 20 MiB";
  ASSERT_VALUE(const Handle b, policy.allocate(15_MiB));
  EXPECT_EQ(shape(policy), "U30720 U15360 F15360") << "it began in the free rest and grew by a granule";
  ASSERT_VALUE(const Handle c, policy.allocate({15 * kMiB + 512}));
  EXPECT_EQ(shape(policy), "U30720 U15360 U15360.5 F20479.5");
  policy.free(a);
  policy.trim();
  EXPECT_EQ(shape(policy), "-20480 F10240 U15360 U15360.5 F20479.5")
      << "b uses the second granule, c a part of the fourth";
  EXPECT_EQ(policy.usage().reserved, 60_MiB);
  ASSERT_VALUE(const Handle again, policy.allocate(25_MiB));
  EXPECT_EQ(again, a) << "the gap is filled before the end grows";
  EXPECT_EQ(shape(policy), "U25600 F5120 U15360 U15360.5 F20479.5");
  for (const Handle handle : {again, b, c}) policy.free(handle);
  policy.trim();
  EXPECT_EQ(policy.usage().reserved.count, 0);
}

TEST(Expandable, ABlockThatCanGrowCountsWithWhatItCanGrowTo) {
  VirtualSpace space(1_GiB);
  CachingPolicy policy(space, {.expandable = true});
  ASSERT_VALUE(const Handle a, policy.allocate(12_MiB));
  ASSERT_OK(policy.allocate({3 * kMiB}));
  EXPECT_EQ(shape(policy), "U12288 U3072 F5120");
  policy.free(a);
  ASSERT_VALUE(const Handle four, policy.allocate(4_MiB));
  EXPECT_EQ(four, a) << "5 MiB would fit better, but they are the end that can grow";
}

TEST(Direct, RoundsUpToPagesAndKeepsNothing) {
  VirtualSpace space(64_MiB);
  DirectPolicy policy(space);
  ASSERT_VALUE(const Handle a, policy.allocate({1}));
  ASSERT_VALUE(const Handle b, policy.allocate({2 * kMiB + 1}));
  EXPECT_EQ(policy.usage().reserved, 6_MiB);
  EXPECT_EQ(policy.usage().requested.count, 2 * kMiB + 2);
  ASSERT_VALUE(const Handle grown, policy.grow(a, 2_MiB));
  EXPECT_EQ(grown, a) << "the page has room";
  ASSERT_VALUE(const Handle moved, policy.grow(a, {2 * kMiB + 1}));
  EXPECT_NE(moved, a);
  EXPECT_EQ(policy.peak().reserved, 10_MiB) << "old and new at once";
  policy.free(b);
  policy.free(moved);
  EXPECT_EQ(space.free(), 64_MiB);
  EXPECT_DEATH(policy.free(b), "found") << "freed twice";
}

TEST(Arena, SharesMemoryOverTimeAndRefusesWhatWasNotPlanned) {
  VirtualSpace space(16_MiB);
  ASSERT_VALUE(const auto arena, ArenaPolicy::make(space, {{6 * kMiB, 0, 1}, {2 * kMiB, 1, 9}, {6 * kMiB, 2, 9}}));
  EXPECT_EQ(arena->usage().reserved, 8_MiB);
  ASSERT_VALUE(const Handle a, arena->allocate(6_MiB));
  ASSERT_VALUE(const Handle b, arena->allocate(1_MiB));
  const auto at = arena->extents(a)[0].address;
  EXPECT_EQ(arena->extents(b)[0].address, at + 6 * kMiB);
  arena->free(a);
  EXPECT_EQ(arena->allocate(7_MiB).error().rule, "arena.unplanned") << "larger than planned";
  ASSERT_VALUE(const Handle c, arena->allocate(6_MiB));
  EXPECT_EQ(arena->extents(c)[0].address, at);
  ASSERT_VALUE(const Handle grown, arena->grow(b, 2_MiB));
  EXPECT_EQ(grown, b) << "its place is kept from the start";
  EXPECT_EQ(arena->allocate({1}).error().rule, "arena.unplanned") << "one more than planned";
  VirtualSpace small(4_MiB);
  EXPECT_EQ(ArenaPolicy::make(small, {{6 * kMiB, 0, 1}}).error().kind, ErrorKind::out_of_memory);
  EXPECT_EQ(small.reserved().count, 0);
}

TEST(Paged, ATensorIsAListOfPagesWhereverTheyLie) {
  VirtualSpace space(11_MiB);
  ASSERT_VALUE(const auto paged, PagedPolicy::make(space, 3_MiB));
  EXPECT_EQ(paged->pages(), 3) << "of the 10 MiB that are whole pages of the device";
  ASSERT_VALUE(const Handle a, paged->allocate(1_MiB));
  ASSERT_VALUE(const Handle b, paged->allocate(3_MiB));
  ASSERT_VALUE(const Handle grown, paged->grow(a, 4_MiB));
  EXPECT_EQ(grown, a);
  const auto extents = paged->extents(a);
  ASSERT_EQ(extents.size(), 2u);
  EXPECT_EQ(extents[1].address, extents[0].address + 2 * 3 * kMiB) << "b lies between";
  EXPECT_EQ(paged->usage().allocated, 9_MiB);
  EXPECT_EQ(paged->usage().requested, 7_MiB);
  EXPECT_EQ(paged->grow(a, 7_MiB).error().kind, ErrorKind::out_of_memory);
  EXPECT_EQ(paged->extents(a).size(), 2u) << "nothing was taken";
  paged->free(b);
  EXPECT_OK(paged->grow(a, 7_MiB));
}

TEST(Trace, KnowsSizesAndLives) {
  const Trace trace{.name = "t",
                    .events = {{Kind::allocate, 0, 10},
                               {Kind::allocate, 1, 20},
                               {Kind::grow, 0, 15},
                               {Kind::trim},
                               {Kind::free, 1},
                               {Kind::allocate, 2, 1}}};
  ASSERT_OK(trace.validate());
  EXPECT_EQ(trace.live().count, 16);
  EXPECT_EQ(trace.peak_live().count, 35);
  EXPECT_EQ(trace.with({7}).live().count, 23);
  const auto lives = trace.lifetimes();
  ASSERT_EQ(lives.size(), 3u);
  EXPECT_EQ(lives[0].bytes, 15);
  EXPECT_EQ(lives[0].last, 6) << "past the end";
  EXPECT_EQ(lives[1].first, 1);
  EXPECT_EQ(lives[1].last, 4);
}

TEST(Trace, RefusesWhatNoProgramCouldHaveDone) {
  const auto rule = [](std::vector<Event> events) {
    const Status status = Trace{.name = "t", .events = std::move(events)}.validate();
    return status ? "" : status.error().rule;
  };
  EXPECT_EQ(rule({{Kind::allocate, 0, 5}, {Kind::free, 0}}), "");
  EXPECT_EQ(rule({{Kind::free, 0}}), "trace.order");
  EXPECT_EQ(rule({{Kind::allocate, 1, 5}}), "trace.order");
  EXPECT_EQ(rule({{Kind::allocate, 0, 0}}), "trace.order");
  EXPECT_EQ(rule({{Kind::allocate, 0, 5}, {Kind::grow, 0, 4}}), "trace.order");
  EXPECT_EQ(rule({{Kind::allocate, 0, 5}, {Kind::free, 0}, {Kind::free, 0}}), "trace.order");
  EXPECT_EQ(rule({{Kind::allocate, 0, 5}, {Kind::free, 0, 5}}), "trace.order");
}

TEST(Replay, CountsCallsFailuresAndCopies) {
  VirtualSpace space(8_MiB);
  DirectPolicy policy(space);
  const Trace trace{.name = "t",
                    .events = {{Kind::allocate, 0, 2 * kMiB},
                               {Kind::grow, 0, 4 * kMiB},
                               {Kind::allocate, 1, 4 * kMiB},
                               {Kind::grow, 1, 5 * kMiB},
                               {Kind::grow, 1, 6 * kMiB},
                               {Kind::free, 1},
                               {Kind::allocate, 2, 5 * kMiB}}};
  ASSERT_VALUE(const Replay result, replay(policy, trace));
  EXPECT_EQ(result.copied, 2_MiB);
  EXPECT_EQ(result.calls, 5) << "tensor 1 is gone after it could not grow";
  EXPECT_EQ(result.failed, 2);
  EXPECT_TRUE(result.last_failed);
  EXPECT_THAT(result.handles, ElementsAre(testing::Ge(0), -1, -1));
  EXPECT_EQ(policy.usage().requested, 4_MiB);
}

TEST(MakePolicy, NamesThoseItKnows) {
  VirtualSpace space(8_MiB);
  EXPECT_THAT(make_policy("buddy", space, {}, 2_MiB).error().expected, testing::HasSubstr("expandable"));
}

}  // namespace
}  // namespace rl::alloc
