// The card's memory resources: what they give can be written and read, what the driver says of them is what was asked,
// and nothing stays behind.

#include "card.h"
#include "device/allocators/policy_resource.h"
#include "device/allocators/trace.h"
#include "engine/fixture.h"

namespace rl::cuda {
namespace {

using namespace literals;

class CudaMemory : public testing::Test {
 protected:
  void SetUp() override {
    RL_NEED_CARD();
    ASSERT_VALUE(card, open_card());
    ASSERT_NE(card.device->virtual_memory(), nullptr);
    before = card.device->available_memory();
  }
  // Another program's allocations aside, all that was taken is back.
  void expect_all_back() { EXPECT_GE(card.device->available_memory() + 32_MiB, before); }
  // Fills both ends of a block and reads them back.
  void expect_usable(void* data, Bytes bytes, std::int64_t mark) {
    auto* const last = static_cast<std::byte*>(data) + bytes.count - 8;
    std::int64_t first_read = 0, last_read = 0;
    ASSERT_OK(card.stream->copy_to_device(data, &mark, {8}));
    ASSERT_OK(card.stream->copy_to_device(last, &mark, {8}));
    ASSERT_OK(card.stream->copy_to_host(&first_read, data, {8}));
    ASSERT_OK(card.stream->copy_to_host(&last_read, last, {8}));
    ASSERT_OK(card.stream->synchronize());
    EXPECT_EQ(first_read, mark);
    EXPECT_EQ(last_read, mark);
  }
  Card card;
  Bytes before;
};

TEST_F(CudaMemory, VirtualMemoryGrowsASegmentInPlaceAndGivesItBack) {
  VirtualMemory& memory = *card.device->virtual_memory();
  const std::int64_t granule = memory.granularity();
  EXPECT_GE(granule, 1 << 16);
  {
    alloc::MappedSpace space(memory, 2_GiB);
    ASSERT_VALUE(const alloc::Extent segment, space.reserve(64 * granule));
    ASSERT_OK(space.map_pieces({segment.address, 16 * granule}, granule));
    auto* const data = reinterpret_cast<std::byte*>(segment.address);
    expect_usable(data, {16 * granule}, 41);
    EXPECT_LE(card.device->available_memory().count, before.count - 16 * granule);
    ASSERT_OK(space.map_pieces({segment.address + 16 * granule, 16 * granule}, granule));  // it grows
    std::int64_t kept = 0;
    ASSERT_OK(card.stream->copy_to_host(&kept, data, {8}));
    ASSERT_OK(card.stream->synchronize());
    EXPECT_EQ(kept, 41) << "what was there stays";
    expect_usable(data, {32 * granule}, 42);
    // A hole in the middle, and memory in it again.
    space.unmap({segment.address + 4 * granule, 4 * granule});
    ASSERT_OK(space.map({segment.address + 4 * granule, 4 * granule}));
    expect_usable(data + 4 * granule, {4 * granule}, 43);
    ASSERT_OK(card.stream->copy_to_host(&kept, data, {8}));
    ASSERT_OK(card.stream->synchronize());
    EXPECT_EQ(kept, 42);
  }
  expect_all_back();
}

TEST_F(CudaMemory, MoreThanTheCardHasIsOutOfMemoryAndTakesNothing) {
  const Bytes much = card.device->info().memory + 64_GiB;
  alloc::MappedSpace space(*card.device->virtual_memory(), much + much);
  const std::int64_t piece = space.granularity() * 512;
  const std::int64_t bytes = much.count / piece * piece;
  ASSERT_VALUE(const alloc::Extent segment, space.reserve(bytes));
  const Status mapped = space.map_pieces(segment, piece);
  ASSERT_FALSE(mapped);
  EXPECT_EQ(mapped.error().kind, ErrorKind::out_of_memory);
  EXPECT_THAT(mapped.error().what, testing::HasSubstr("cuMem"));
  EXPECT_NE(mapped.error().native_code, 0);
  expect_all_back();
  const auto direct = card.device->memory().allocate(much);
  ASSERT_FALSE(direct);
  EXPECT_EQ(direct.error().kind, ErrorKind::out_of_memory);
  EXPECT_OK(card.stream->synchronize()) << "not a sticky error";
  EXPECT_FALSE(card.device->lost());
}

TEST_F(CudaMemory, APoolKeepsWhatWasFreedUntilItIsTrimmed) {
  {
    ASSERT_VALUE(const auto pool, card.device->make_pool(*card.stream, {.release_threshold = 8_GiB, .most = 1_GiB}));
    ASSERT_VALUE(void* const a, pool->allocate(100_MiB));
    ASSERT_VALUE(void* const b, pool->allocate(200_MiB));
    expect_usable(a, 100_MiB, 1);
    expect_usable(b, 200_MiB, 2);
    ASSERT_VALUE(PoolResource::State state, pool->state());
    EXPECT_GE(state.used, 300_MiB);
    EXPECT_GE(state.reserved, state.used);
    pool->deallocate(a, 100_MiB);
    ASSERT_OK(card.stream->synchronize());
    ASSERT_VALUE(const PoolResource::State freed, pool->state());
    EXPECT_EQ(freed.reserved, state.reserved) << "below the threshold";
    EXPECT_LE(freed.used.count, state.used.count - (100_MiB).count);
    ASSERT_VALUE(void* const again, pool->allocate(100_MiB));
    ASSERT_VALUE(state, pool->state());
    EXPECT_EQ(state.reserved, freed.reserved) << "nothing new was taken";
    EXPECT_EQ(pool->allocate(2_GiB).error().kind, ErrorKind::out_of_memory) << "more than its most";
    pool->deallocate(again, 100_MiB);
    pool->deallocate(b, 200_MiB);
    ASSERT_OK(pool->trim({}));
    ASSERT_VALUE(state, pool->state());
    EXPECT_EQ(state.reserved.count, 0);
    EXPECT_EQ(state.used.count, 0);
  }
  expect_all_back();
}

// The whole engine on the growing arena gives the tokens it gives on cudaMalloc.
TEST_F(CudaMemory, TheEngineRunsOnTheArena) {
  const ops::Backend backend = card.backend();
  ASSERT_VALUE(const model::ModelSource source, model::find_model("demo"));
  std::vector<std::vector<TokenId>> tokens;
  {
    alloc::MappedSpace space(*card.device->virtual_memory(), 4_GiB);
    ASSERT_VALUE(auto policy, alloc::make_policy("expandable", space, {}, 1_MiB));
    alloc::PolicyResource arena(std::move(policy));
    for (MemoryResource* memory : {&card.device->memory(), static_cast<MemoryResource*>(&arena)}) {
      ASSERT_VALUE(const auto made,
                   engine::Engine::make(source, backend, *memory, {.max_context = 256, .max_seqs = 2}));
      ASSERT_VALUE(auto drawn, engine::run_all(*made, {{.prompt = {1, 50, 60, 70}, .max_tokens = 24}}));
      tokens.push_back(std::move(drawn.at(0)));
    }
    EXPECT_EQ(arena.usage().allocated.count, 0);
  }
  EXPECT_EQ(tokens.at(0), tokens.at(1));
  expect_all_back();
}

}  // namespace
}  // namespace rl::cuda
