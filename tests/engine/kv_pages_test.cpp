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

// Tokens n, n + 1, ...
std::vector<TokenId> text(TokenId n, std::size_t count) {
  std::vector<TokenId> tokens(count);
  for (std::size_t i = 0; i < count; ++i) tokens[i] = n + static_cast<TokenId>(i);
  return tokens;
}

// A table over `tokens`, all of them computed.
PageTable computed(PagePool& pool, const std::vector<TokenId>& tokens) {
  PageTable table;
  EXPECT_TRUE(pool.extend(table, std::ssize(tokens)));
  pool.publish(table, tokens, std::ssize(tokens));
  return table;
}

TEST(PagePool, SharesTheFullPagesOfALeadingPart) {
  PagePool pool(8, 4);
  PageTable a = computed(pool, text(0, 10));  // pages 0 and 1 are full, 2 is not
  PageTable b, c, d;
  std::vector<TokenId> other = text(0, 10);
  other[5] = 99;
  EXPECT_EQ(pool.share(b, text(0, 12)), 8);
  EXPECT_EQ(b.pages, (std::vector<std::int32_t>{0, 1}));
  EXPECT_EQ(pool.owners(PageId{0}), 2);
  EXPECT_EQ(pool.share(c, other), 4);
  EXPECT_EQ(pool.share(d, text(4, 8)), 0);  // the second page's tokens at the front are another prefix
  pool.check_invariants();
  // Freed pages keep what they hold.
  pool.release(a);
  pool.release(b);
  pool.release(c);
  EXPECT_EQ(pool.free(), 8);
  EXPECT_EQ(pool.kept(), 2);
  EXPECT_EQ(pool.share(a, text(0, 8)), 8);
  EXPECT_EQ(pool.free(), 6);
  pool.check_invariants();
}

TEST(PagePool, TakesEmptyPagesFirstThenTheKeptOneUnusedLongest) {
  PagePool pool(4, 2);
  PageTable old = computed(pool, text(0, 4)), recent = computed(pool, text(100, 2));
  pool.release(old);
  pool.release(recent);
  PageTable table;
  ASSERT_TRUE(pool.extend(table, 2));  // the one that is empty
  EXPECT_EQ(pool.kept(), 3);
  ASSERT_TRUE(pool.extend(table, 4));  // the end of the old prefix
  PageTable again;
  EXPECT_EQ(pool.share(again, text(0, 4)), 2);
  pool.release(again);
  ASSERT_TRUE(pool.extend(table, 6));  // the recent prefix: the old one has just been used
  EXPECT_EQ(pool.share(again, text(100, 2)), 0);
  EXPECT_EQ(pool.share(again, text(0, 4)), 2);
  pool.check_invariants();
}

TEST(PagePool, WhatTwoSequencesComputeSideBySideHasOneName) {
  PagePool pool(8, 2);
  PageTable a = computed(pool, text(0, 4));
  PageTable b = computed(pool, text(0, 4));
  EXPECT_NE(a.pages, b.pages);
  EXPECT_EQ(a.prefix, b.prefix);
  pool.release(b);
  EXPECT_EQ(pool.kept(), 0);
  pool.release(a);
  EXPECT_EQ(pool.kept(), 2);
  pool.check_invariants();
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
