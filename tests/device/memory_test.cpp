#include "device/memory.h"

#include <fstream>
#include <sstream>

#include "check/result.h"

// Under the address sanitizer malloc ends the process where it would return null; the tests below want the latter.
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }

namespace rl {
namespace {

using namespace literals;

bool aligned(const void* data, std::int64_t bytes) {
  return reinterpret_cast<std::uintptr_t>(data) % static_cast<std::uintptr_t>(bytes) == 0;
}

// What every resource promises, on its own and under each decorator.
struct Stack {
  const char* name;
  MemoryResource& (*make)();
};
class Resource : public testing::TestWithParam<Stack> {};

TEST_P(Resource, GivesAlignedMemoryOfAnySize) {
  MemoryResource& resource = GetParam().make();
  for (const std::int64_t bytes : {0, 1, 255, 256, 257, 100'000, 5 << 20}) {
    ASSERT_VALUE(void* data, resource.allocate({bytes}));
    ASSERT_NE(data, nullptr) << bytes;
    EXPECT_TRUE(aligned(data, kAlignment)) << bytes;
    std::memset(data, 1, static_cast<std::size_t>(bytes));
    resource.deallocate(data, {bytes});
  }
  EXPECT_EQ(resource.name(), "host memory");
}

TEST_P(Resource, SaysSoWhenThereIsTooLittle) {
  const auto result = GetParam().make().allocate({INT64_MAX / 4});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::out_of_memory);
  EXPECT_FALSE(result.error().found.empty());
}

INSTANTIATE_TEST_SUITE_P(All, Resource,
                         testing::Values(Stack{"host", []() -> MemoryResource& { return host_memory(); }},
                                         Stack{"counting",
                                               []() -> MemoryResource& {
                                                 static CountingResource resource(host_memory());
                                                 return resource;
                                               }},
                                         Stack{"limited",
                                               []() -> MemoryResource& {
                                                 static LimitedResource resource(host_memory(), 1_GiB);
                                                 return resource;
                                               }},
                                         Stack{"poisoning",
                                               []() -> MemoryResource& {
                                                 static PoisoningResource resource(host_memory());
                                                 return resource;
                                               }},
                                         Stack{"failing",
                                               []() -> MemoryResource& {
                                                 static FailingResource resource(host_memory(), 100);
                                                 return resource;
                                               }}),
                         [](const auto& param) { return std::string(param.param.name); });

TEST(CountingResource, CountsLiveAndPeakBytes) {
  CountingResource counting(host_memory());
  ASSERT_VALUE(void* a, counting.allocate({100}));
  ASSERT_VALUE(void* b, counting.allocate({50}));
  counting.deallocate(a, {100});
  EXPECT_EQ(counting.live(), Bytes{50});
  ASSERT_VALUE(void* small, counting.allocate({10}));
  EXPECT_EQ(counting.peak(), Bytes{150}) << "60 live bytes are no new peak";
  counting.deallocate(small, {10});
  counting.reset_peak();
  EXPECT_EQ(counting.peak(), Bytes{50});
  ASSERT_VALUE(void* c, counting.allocate({70}));
  EXPECT_EQ(counting.peak(), Bytes{120});
  counting.deallocate(b, {50});
  counting.deallocate(c, {70});
  EXPECT_EQ(counting.live(), Bytes{0});
  EXPECT_EQ(counting.allocations(), 4);
  EXPECT_EQ(counting.deallocations(), 4);
}

TEST(CountingResource, OverAnotherCountsFromNothingAndIsCountedThere) {
  CountingResource outer(host_memory());
  ASSERT_VALUE(void* first, outer.allocate({100}));
  MemoryResource& upstream = outer;
  CountingResource inner(upstream);
  EXPECT_EQ(inner.live(), Bytes{0});
  ASSERT_VALUE(void* second, inner.allocate({50}));
  EXPECT_EQ(inner.peak(), Bytes{50});
  EXPECT_EQ(outer.peak(), Bytes{150});
  inner.deallocate(second, {50});
  outer.deallocate(first, {100});
  static_assert(!std::is_copy_constructible_v<CountingResource>);
}

TEST(CountingResource, DoesNotCountWhatFailed) {
  FailingResource failing(host_memory(), 1);
  CountingResource counting(failing);
  EXPECT_FALSE(counting.allocate({100}));
  EXPECT_EQ(counting.live(), Bytes{0});
  EXPECT_EQ(counting.peak(), Bytes{0});
  EXPECT_EQ(counting.allocations(), 0);
}

TEST(LimitedResource, RefusesTheByteOverTheLimitAndRecovers) {
  LimitedResource limited(host_memory(), {1000});
  ASSERT_VALUE(void* a, limited.allocate({600}));
  const auto refused = limited.allocate({401});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::out_of_memory);
  EXPECT_THAT(refused.error().expected, testing::HasSubstr("400 B"));
  ASSERT_VALUE(void* b, limited.allocate({400}));
  EXPECT_FALSE(limited.allocate({1}));
  limited.deallocate(a, {600});
  ASSERT_VALUE(void* c, limited.allocate({600}));
  limited.deallocate(b, {400});
  limited.deallocate(c, {600});
}

TEST(LimitedResource, AFailedAllocationTakesNothingOfTheLimit) {
  FailingResource failing(host_memory(), 1);
  LimitedResource limited(failing, {1000});
  for (int i = 0; i < 3; ++i) EXPECT_THAT(limited.allocate({600}).error().what, testing::HasSubstr("made to fail"));
}

TEST(PoisoningResource, FillsWithNaN) {
  PoisoningResource poisoning(host_memory());
  ASSERT_VALUE(void* data, poisoning.allocate({64}));
  for (int i = 0; i < 16; ++i) EXPECT_TRUE(std::isnan(static_cast<float*>(data)[i]));
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(std::isnan(static_cast<double*>(data)[i]));
  poisoning.deallocate(data, {64});
}

TEST(FailingResource, FailsFromTheNthOn) {
  FailingResource failing(host_memory(), 2);
  ASSERT_VALUE(void* data, failing.allocate({8}));
  EXPECT_FALSE(failing.allocate({8}));
  EXPECT_FALSE(failing.allocate({8}));
  failing.deallocate(data, {8});
}

// The line "VmFlags: ... hg ..." of the mapping that holds an address says that it was advised to use huge pages.
TEST(HostMemory, LargeBlocksAreAdvisedToUseHugePages) {
  std::ifstream smaps("/proc/self/smaps");
  if (!smaps || !std::ifstream("/sys/kernel/mm/transparent_hugepage/enabled"))
    GTEST_SKIP() << "this system does not say";
  const Bytes size = 16_MiB;
  ASSERT_VALUE(void* data, host_memory().allocate(size));
  EXPECT_TRUE(aligned(data, 2 << 20));
  const auto address = reinterpret_cast<std::uintptr_t>(data) + static_cast<std::uintptr_t>(size.count / 2);
  std::ifstream now("/proc/self/smaps");
  bool inside = false, advised = false;
  for (std::string line; std::getline(now, line);) {
    unsigned long first = 0, last = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &first, &last) == 2) inside = first <= address && address < last;
    if (inside && line.starts_with("VmFlags:")) advised |= line.find(" hg") != std::string::npos;
  }
  EXPECT_TRUE(advised);
  host_memory().deallocate(data, size);
}

}  // namespace
}  // namespace rl
