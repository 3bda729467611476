#pragma once
// Which pages of the KV cache are free, which belong to which sequences, and which still hold the keys and values of a
// known prefix. Pages are all alike: a page id is valid in every layer. Host bookkeeping only; no memory of the device
// is touched.
//
// Prefix reuse (automatic prefix caching, Kwon et al., arXiv 2309.06180, section 4.4; vLLM): a full page of computed
// tokens is published under all tokens up to its end. A later sequence with the same leading tokens shares the page
// instead of computing it. A page that nobody uses any more is kept with what it holds until a page is needed and no
// empty one is left; then the one unused longest goes first. Matches are exact: the tokens are compared, the hash only
// finds them.

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/ids.h"

namespace rl::engine {

// The pages of one sequence in order: token t lies in pages[t / page_tokens]. Copies would own the same pages twice.
struct PageTable {
  PageTable() = default;
  PageTable(PageTable&&) noexcept = default;
  PageTable& operator=(PageTable&&) noexcept = default;
  std::vector<std::int32_t> pages;
  std::int64_t known = 0;   // leading pages that are published, here or by another sequence
  std::int64_t prefix = 0;  // the published prefix they make; kUnpublished: the next ones have no name
};

class PagePool {
 public:
  PagePool(std::int64_t pages, std::int64_t page_tokens);

  std::int64_t total() const { return static_cast<std::int64_t>(pages_.size()); }
  std::int64_t free() const { return static_cast<std::int64_t>(empty_.size()) + kept_; }  // that extend() can take
  std::int64_t kept() const { return kept_; }  // free ones that still hold a published prefix
  std::int64_t page_tokens() const { return page_tokens_; }
  std::int64_t pages_for(std::int64_t tokens) const;
  std::int32_t owners(PageId id) const { return pages_[static_cast<std::size_t>(id.value)].owners; }

  // Makes the table cover `tokens` tokens. False, and nothing taken, if too few pages are free. Never shrinks.
  bool extend(PageTable& table, std::int64_t tokens);
  // Gives all pages of the table back. A page given back more often than it was taken is a bug and ends the program.
  void release(PageTable& table);

  // For an empty table: takes the published pages of the longest known prefix of `tokens`. Returns the tokens they
  // hold, a multiple of page_tokens.
  std::int64_t share(PageTable& table, std::span<const TokenId> tokens);
  // Publishes the pages of the table that are full: tokens [0, computed) of the sequence are in its pages.
  void publish(PageTable& table, std::span<const TokenId> tokens, std::int64_t computed);

  PageId take();              // free() > 0; with one owner
  void give_back(PageId id);  // a page in use: one owner less

  // Ends the program if the bookkeeping contradicts itself.
  void check_invariants() const;

 private:
  static constexpr std::int64_t kUnpublished = -1;
  static constexpr std::int32_t kNone = -1;

  struct Page {
    std::int32_t owners = 0;
    std::int64_t prefix = 0;  // its name as a prefix, never used again; 0: not published
    std::int64_t parent = 0;  // the prefix before it; 0: it is the first page
    std::uint64_t hash = 0;   // of parent and tokens
    std::vector<TokenId> tokens;
    std::int32_t older = kNone, newer = kNone;  // in the list of kept pages
  };
  Page& at(std::int32_t page) { return pages_[static_cast<std::size_t>(page)]; }
  // The published page that continues `parent` with these tokens, or kNone.
  std::int32_t find(std::int64_t parent, std::uint64_t hash, std::span<const TokenId> tokens) const;
  void forget(std::int32_t page);
  void keep(std::int32_t page);    // at the newest end
  void unkeep(std::int32_t page);  // out of the list

  std::int64_t page_tokens_;
  std::vector<Page> pages_;
  std::vector<std::int32_t> empty_;  // a stack: the page freed last is taken first, while caches still hold it
  std::int32_t oldest_ = kNone, newest_ = kNone;
  std::int64_t kept_ = 0, last_prefix_ = 0;
  std::unordered_map<std::uint64_t, std::int32_t> by_hash_;
};

}  // namespace rl::engine
