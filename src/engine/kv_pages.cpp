#include "engine/kv_pages.h"

#include "base/checked.h"
#include "base/result.h"

namespace rl::engine {

PagePool::PagePool(std::int64_t pages, std::int64_t page_tokens)
    : page_tokens_(page_tokens), in_use_(static_cast<std::size_t>(pages), false) {
  RL_CHECK(pages > 0 && page_tokens > 0);
  free_.reserve(static_cast<std::size_t>(pages));
  for (std::int64_t page = pages - 1; page >= 0; --page) free_.push_back(static_cast<std::int32_t>(page));
}

std::int64_t PagePool::pages_for(std::int64_t tokens) const { return ceil_div(tokens, page_tokens_); }

bool PagePool::extend(PageTable& table, std::int64_t tokens) {
  const std::int64_t missing = pages_for(tokens) - static_cast<std::int64_t>(table.pages.size());
  if (missing > free()) return false;
  for (std::int64_t i = 0; i < missing; ++i) table.pages.push_back(take().value);
  return true;
}

void PagePool::release(PageTable& table) {
  // Last page first, so that the next sequence takes them in ascending order again.
  for (auto page = table.pages.rbegin(); page != table.pages.rend(); ++page) give_back(PageId{*page});
  table.pages.clear();
}

PageId PagePool::take() {
  RL_CHECK(!free_.empty());
  const std::int32_t page = free_.back();
  free_.pop_back();
  RL_CHECK(!in_use_[static_cast<std::size_t>(page)]);
  in_use_[static_cast<std::size_t>(page)] = true;
  return PageId{page};
}

void PagePool::give_back(PageId id) {
  RL_CHECK_MSG(id.value >= 0 && id.value < total(), "no such page");
  const auto page = static_cast<std::size_t>(id.value);
  RL_CHECK_MSG(in_use_[page], "page given back twice");
  in_use_[page] = false;
  free_.push_back(id.value);
}

}  // namespace rl::engine
