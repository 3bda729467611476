#include "engine/kv_pages.h"

#include <random>

#include <gtest/gtest.h>

namespace rl::engine {
namespace {

TEST(PagePool, ExtendsByWholePagesAndTakesNothingIfTooFewAreFree) {
  PagePool pool(4, 16);
  PageTable a, b;
  EXPECT_TRUE(pool.extend(a, 17));
  EXPECT_EQ(a.pages, (std::vector<std::int32_t>{0, 1}));
  EXPECT_TRUE(pool.extend(a, 32));  // already covered
  EXPECT_EQ(pool.free(), 2);
  EXPECT_FALSE(pool.extend(b, 33));
  EXPECT_EQ(pool.free(), 2);
  EXPECT_TRUE(b.pages.empty());
  EXPECT_TRUE(pool.extend(b, 32));
  EXPECT_EQ(pool.free(), 0);
  pool.release(a);
  EXPECT_EQ(pool.free(), 2);
  EXPECT_TRUE(pool.extend(b, 64));
  EXPECT_EQ(b.pages, (std::vector<std::int32_t>{2, 3, 0, 1}));
}

TEST(PagePool, NoPageHasTwoOwnersOverRandomUse) {
  constexpr std::int64_t kPages = 37;
  PagePool pool(kPages, 8);
  std::mt19937 random(1);
  std::vector<PageTable> tables(6);
  for (int round = 0; round < 5000; ++round) {
    PageTable& table = tables[random() % tables.size()];
    if (random() % 4 == 0)
      pool.release(table);
    else
      pool.extend(table, static_cast<std::int64_t>(table.pages.size()) * 8 + static_cast<std::int64_t>(random() % 40));
    std::vector<bool> seen(kPages, false);
    std::int64_t owned = 0;
    for (const PageTable& t : tables)
      for (std::int32_t page : t.pages) {
        ASSERT_TRUE(page >= 0 && page < kPages);
        ASSERT_FALSE(seen[static_cast<std::size_t>(page)]);
        seen[static_cast<std::size_t>(page)] = true;
        ++owned;
      }
    ASSERT_EQ(owned + pool.free(), kPages);
  }
}

TEST(PagePoolDeathTest, APageGivenBackTwiceEndsTheProgram) {
  PagePool pool(2, 8);
  const PageId page = pool.take();
  pool.give_back(page);
  EXPECT_DEATH(pool.give_back(page), "given back twice");
  EXPECT_DEATH(pool.give_back(PageId{2}), "no such page");
}

}  // namespace
}  // namespace rl::engine
