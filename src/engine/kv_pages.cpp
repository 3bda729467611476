#include "engine/kv_pages.h"

#include "base/checked.h"
#include "base/result.h"

namespace rl::engine {
namespace {

// The finaliser of MurmurHash3 (Appleby), over one value after the other.
std::uint64_t mixed(std::uint64_t hash, std::uint64_t value) {
  hash ^= value + 0x9E3779B97F4A7C15;
  hash = (hash ^ (hash >> 33)) * 0xFF51AFD7ED558CCD;
  hash = (hash ^ (hash >> 33)) * 0xC4CEB9FE1A85EC53;
  return hash ^ (hash >> 33);
}

std::uint64_t hash_of(std::int64_t parent, std::span<const TokenId> tokens) {
  std::uint64_t hash = mixed(0, static_cast<std::uint64_t>(parent));
  for (const TokenId token : tokens) hash = mixed(hash, static_cast<std::uint32_t>(token));
  return hash;
}

}  // namespace

PagePool::PagePool(std::int64_t pages, std::int64_t page_tokens)
    : page_tokens_(page_tokens), pages_(static_cast<std::size_t>(pages)) {
  RL_CHECK(pages > 0 && page_tokens > 0);
  empty_.reserve(static_cast<std::size_t>(pages));
  for (std::int64_t page = pages - 1; page >= 0; --page) empty_.push_back(static_cast<std::int32_t>(page));
}

std::int64_t PagePool::pages_for(std::int64_t tokens) const { return ceil_div(tokens, page_tokens_); }

bool PagePool::extend(PageTable& table, std::int64_t tokens) {
  const std::int64_t missing = pages_for(tokens) - static_cast<std::int64_t>(table.pages.size());
  if (missing > free()) return false;
  for (std::int64_t i = 0; i < missing; ++i) table.pages.push_back(take().value);
  return true;
}

void PagePool::release(PageTable& table) {
  // Last page first, so that the next sequence takes them in ascending order again, and so that of a kept prefix the
  // end goes before the beginning.
  for (auto page = table.pages.rbegin(); page != table.pages.rend(); ++page) give_back(PageId{*page});
  table.pages.clear();
  table.known = table.prefix = 0;
}

std::int64_t PagePool::share(PageTable& table, std::span<const TokenId> tokens) {
  RL_CHECK(table.pages.empty());
  const auto size = static_cast<std::size_t>(page_tokens_);
  for (; tokens.size() >= size; tokens = tokens.subspan(size)) {
    const std::span<const TokenId> part = tokens.first(size);
    const std::int32_t page = find(table.prefix, hash_of(table.prefix, part), part);
    if (page == kNone) break;
    if (at(page).owners++ == 0) unkeep(page);
    table.pages.push_back(page);
    table.prefix = at(page).prefix;
    ++table.known;
  }
  return table.known * page_tokens_;
}

void PagePool::publish(PageTable& table, std::span<const TokenId> tokens, std::int64_t computed) {
  RL_CHECK(computed <= std::ssize(tokens));
  while (table.prefix != kUnpublished && (table.known + 1) * page_tokens_ <= computed) {
    const auto part =
        tokens.subspan(static_cast<std::size_t>(table.known * page_tokens_), static_cast<std::size_t>(page_tokens_));
    const std::uint64_t hash = hash_of(table.prefix, part);
    const std::int32_t page = table.pages[static_cast<std::size_t>(table.known)];
    if (const std::int32_t same = find(table.prefix, hash, part); same != kNone) {
      table.prefix = at(same).prefix;  // computed twice side by side: one of them has the name
    } else if (by_hash_.contains(hash)) {
      table.prefix = kUnpublished;  // two texts of one hash: the first keeps it
      return;
    } else {
      by_hash_.emplace(hash, page);
      at(page).parent = table.prefix;
      table.prefix = at(page).prefix = ++last_prefix_;
      at(page).hash = hash;
      at(page).tokens.assign(part.begin(), part.end());
    }
    ++table.known;
  }
}

std::int32_t PagePool::find(std::int64_t parent, std::uint64_t hash, std::span<const TokenId> tokens) const {
  const auto found = by_hash_.find(hash);
  if (found == by_hash_.end()) return kNone;
  const Page& page = pages_[static_cast<std::size_t>(found->second)];
  return page.parent == parent && std::ranges::equal(page.tokens, tokens) ? found->second : kNone;
}

PageId PagePool::take() {
  std::int32_t page = oldest_;
  if (!empty_.empty()) {
    page = empty_.back();
    empty_.pop_back();
  } else {
    RL_CHECK(page != kNone);
    unkeep(page);
    forget(page);
  }
  RL_CHECK(at(page).owners == 0);
  at(page).owners = 1;
  return PageId{page};
}

void PagePool::give_back(PageId id) {
  RL_CHECK_MSG(id.value >= 0 && id.value < total(), "no such page");
  RL_CHECK_MSG(at(id.value).owners > 0, "page given back twice");
  if (--at(id.value).owners > 0) return;
  if (at(id.value).prefix != 0)
    keep(id.value);
  else
    empty_.push_back(id.value);
}

void PagePool::forget(std::int32_t page) {
  by_hash_.erase(at(page).hash);
  at(page).prefix = at(page).parent = 0;
  at(page).tokens.clear();
}

void PagePool::keep(std::int32_t page) {
  at(page).older = newest_;
  at(page).newer = kNone;
  (newest_ == kNone ? oldest_ : at(newest_).newer) = page;
  newest_ = page;
  ++kept_;
}

void PagePool::unkeep(std::int32_t page) {
  const std::int32_t older = at(page).older, newer = at(page).newer;
  (older == kNone ? oldest_ : at(older).newer) = newer;
  (newer == kNone ? newest_ : at(newer).older) = older;
  --kept_;
}

void PagePool::check_invariants() const {
  std::int64_t used = 0, kept = 0, published = 0;
  for (const Page& page : pages_) {
    RL_CHECK(page.owners >= 0);
    used += page.owners > 0;
    published += page.prefix != 0;
    RL_CHECK((page.prefix != 0) == !page.tokens.empty());
  }
  std::int32_t before = kNone;
  for (std::int32_t page = oldest_; page != kNone; page = pages_[static_cast<std::size_t>(page)].newer) {
    const Page& entry = pages_[static_cast<std::size_t>(page)];
    RL_CHECK(entry.owners == 0 && entry.prefix != 0 && entry.older == before);
    before = page;
    ++kept;
  }
  for (const std::int32_t page : empty_) {
    const Page& entry = pages_[static_cast<std::size_t>(page)];
    RL_CHECK(entry.owners == 0 && entry.prefix == 0);
  }
  RL_CHECK(before == newest_ && kept == kept_ && used + free() == total());
  RL_CHECK(published == static_cast<std::int64_t>(by_hash_.size()));
}

}  // namespace rl::engine
