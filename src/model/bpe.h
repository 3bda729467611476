#pragma once
// Byte-pair encoding: the vocabulary, the merges, and the merging of one piece of text.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "base/ids.h"
#include "model/bpe_queue.h"

namespace rl::model {

// Ids at or above this are refused. It bounds what a small file can make us allocate (16 MiB of index).
inline constexpr std::int64_t kMaxVocabulary = 4'000'000;

// Tokens and ids, both ways. Ids may have gaps.
class Vocabulary {
 public:
  void reserve(std::size_t tokens, std::size_t bytes);
  enum class Added { yes, duplicate_token, duplicate_id };
  Added add(std::string_view token, TokenId id);  // id in [0, kMaxVocabulary)
  std::optional<TokenId> find(std::string_view token) const;
  std::string_view token(TokenId id) const;  // "" if there is none
  bool has(TokenId id) const;
  std::int64_t size() const { return static_cast<std::int64_t>(entries_.size()); }
  std::int64_t end_id() const { return static_cast<std::int64_t>(entry_of_id_.size()); }  // largest id + 1
  std::size_t longest() const { return longest_; }                                        // bytes

 private:
  struct Entry {
    std::size_t begin = 0;
    std::uint32_t length = 0;
    TokenId id = -1;
  };
  std::string_view text_of(const Entry& entry) const { return {text_.data() + entry.begin, entry.length}; }
  struct Slot {
    std::uint32_t tag = 0;    // bits of the hash: other tokens are passed over without looking at their text
    std::int32_t entry = -1;  // index into entries_, or -1
  };
  // Of the token, or the empty slot where it would go.
  std::size_t slot_of(std::string_view token, std::size_t hash) const;
  void grow(std::size_t slots);

  std::string text_;  // all tokens, one after the other
  std::vector<Entry> entries_;
  std::vector<Slot> slots_;                // open addressing, at most half full
  std::vector<std::int32_t> entry_of_id_;  // index into entries_, or -1
  std::size_t longest_ = 0;
};

// (left, right) -> (rank, merged id); open addressing, at most half full.
class MergeTable {
 public:
  struct Merge {
    std::uint32_t rank = kNone;
    TokenId id = -1;
  };
  static constexpr std::uint32_t kNone = 0xFFFFFFFF;

  void reserve(std::size_t merges);
  bool add(TokenId left, TokenId right, Merge merge);  // false if the pair is there already
  Merge find(TokenId left, TokenId right) const;       // rank kNone if there is none
  std::int64_t size() const { return static_cast<std::int64_t>(count_); }
  // Calls visit(left, right, merged id) for every merge, in no order.
  template <class Visit>
  void each(Visit&& visit) const {
    for (const Slot& slot : slots_)
      if (slot.key != kEmpty)
        visit(static_cast<TokenId>(slot.key >> 32), static_cast<TokenId>(slot.key & 0xFFFFFFFF), slot.merge.id);
  }

 private:
  struct Slot {
    std::uint64_t key = kEmpty;
    Merge merge;
  };
  static constexpr std::uint64_t kEmpty = 0xFFFFFFFFFFFFFFFF;
  static std::uint64_t key_of(TokenId left, TokenId right) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 | static_cast<std::uint32_t>(right);
  }
  std::size_t slot_of(std::uint64_t key) const;

  std::vector<Slot> slots_ = std::vector<Slot>(16);
  std::size_t count_ = 0;
};

// The byte alphabet of byte-level BPE (GPT-2): each byte stands for one printable character.
struct ByteAlphabet {
  std::array<char32_t, 256> character;
  std::array<std::int16_t, 324> byte;  // of a character below 324, or -1
};
const ByteAlphabet& byte_alphabet();
// `bytes` as characters of the alphabet, appended.
void append_byte_characters(std::string& out, std::string_view bytes);

// Where a text can be cut without changing its ids: between two characters that stand side by side in no result of a
// merge, and that are tokens themselves. SentencePiece-style files have no pre-tokenizer, so that a whole text is one
// piece; its words are cut apart here, and merging and the memory of words work on them.
class CutTable {
 public:
  CutTable() = default;  // cuts nowhere
  CutTable(const Vocabulary& vocabulary, const std::vector<TokenId>& merge_results);
  // The first place after `from` to cut piece at; its size if there is none.
  std::size_t next(std::string_view piece, std::size_t from) const;

 private:
  static std::uint64_t pair_of(char32_t left, char32_t right) { return std::uint64_t{left} << 32 | right; }
  bool joined(char32_t left, char32_t right) const;

  bool active_ = false;
  std::vector<bool> ascii_;                   // [left * 128 + right]: side by side in some result
  std::unordered_set<std::uint64_t> others_;  // pairs with a character beyond ASCII
  std::unordered_set<char32_t> characters_;   // tokens of one character
};

struct BpeOptions {
  std::optional<TokenId> unknown;
  bool fuse_unknown = false;
  bool byte_fallback = false;
  bool ignore_merges = false;
};

// Symbols of a piece under way; kept by the caller to save allocations.
struct BpeScratch {
  std::vector<TokenId> symbols;
  std::vector<std::uint32_t> ranks, next, previous;
  RankQueue queue;
  std::string characters;
};

class Bpe {
 public:
  Bpe() = default;
  Bpe(Vocabulary vocabulary, MergeTable merges, const BpeOptions& options);

  // Appends the ids of one piece. Pairs merge by rank, at equal rank from the left, as in the `tokenizers` library;
  // O(n log n) for a piece of n bytes, n < 2^32. A character outside the vocabulary becomes its bytes (byte_fallback),
  // the unknown token, or nothing.
  void encode(std::string_view piece, BpeScratch& scratch, std::vector<TokenId>& out) const;
  // The same for raw bytes, each of which stands for its character of the byte alphabet.
  void encode_bytes(std::string_view piece, BpeScratch& scratch, std::vector<TokenId>& out) const;

  const Vocabulary& vocabulary() const { return vocabulary_; }
  // Cutting pieces given to encode() at these places does not change the ids.
  const CutTable& cuts() const { return cuts_; }
  // Makes cuts(); it stays empty where it cannot be used (ignore_merges, merges of byte or unknown tokens).
  void prepare_cuts();

 private:
  void characters_to_symbols(std::string_view piece, std::vector<TokenId>& symbols) const;
  void merge(BpeScratch& scratch) const;
  void merge_short(BpeScratch& scratch) const;
  void merge_long(BpeScratch& scratch) const;

  Vocabulary vocabulary_;
  MergeTable merges_;
  BpeOptions options_;
  CutTable cuts_;
  std::array<TokenId, 128> ascii_id_{};          // of a one-character token, or -1
  std::array<TokenId, 256> alphabet_id_{};       // of a byte's character in the alphabet, or -1
  std::array<TokenId, 256> byte_fallback_id_{};  // of "<0x0A>" and its like, or -1
};

}  // namespace rl::model
