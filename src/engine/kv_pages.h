#pragma once
// Which pages of the KV cache are free, and which belong to which sequence. Pages are all alike: a page id is valid in
// every layer. Host bookkeeping only; no memory of the device is touched.

#include <cstdint>
#include <vector>

#include "base/ids.h"

namespace rl::engine {

// The pages of one sequence in order: token t lies in pages[t / page_tokens]. Copies would own the same pages twice.
struct PageTable {
  PageTable() = default;
  PageTable(PageTable&&) noexcept = default;
  PageTable& operator=(PageTable&&) noexcept = default;
  std::vector<std::int32_t> pages;
};

class PagePool {
 public:
  PagePool(std::int64_t pages, std::int64_t page_tokens);

  std::int64_t total() const { return static_cast<std::int64_t>(in_use_.size()); }
  std::int64_t free() const { return static_cast<std::int64_t>(free_.size()); }
  std::int64_t page_tokens() const { return page_tokens_; }
  std::int64_t pages_for(std::int64_t tokens) const;

  // Makes the table cover `tokens` tokens. False, and nothing taken, if too few pages are free. Never shrinks.
  bool extend(PageTable& table, std::int64_t tokens);
  // Gives all pages of the table back. A page given back twice is a bug and ends the program.
  void release(PageTable& table);

  PageId take();              // free() > 0
  void give_back(PageId id);  // a page in use

 private:
  std::int64_t page_tokens_;
  std::vector<std::int32_t> free_;  // a stack: the page freed last is taken first, while caches still hold it
  std::vector<bool> in_use_;
};

}  // namespace rl::engine
