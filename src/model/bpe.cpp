#include "model/bpe.h"

#include <algorithm>
#include <bit>
#include <functional>

#include <fmt/core.h>

#include "base/result.h"
#include "model/tokenizer_unicode.h"

namespace rl::model {
namespace {

// Pieces up to this many symbols are merged by scanning an array, which is faster than a heap for words.
constexpr std::size_t kShortPiece = 48;

std::size_t hash_of(std::string_view token) { return std::hash<std::string_view>{}(token); }
std::uint32_t tag_of(std::size_t hash) { return static_cast<std::uint32_t>(hash >> 32); }

std::uint64_t mix(std::uint64_t x) {  // the finaliser of MurmurHash3
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdULL;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53ULL;
  return x ^ x >> 33;
}

}  // namespace

void Vocabulary::reserve(std::size_t tokens, std::size_t bytes) {
  entries_.reserve(tokens);
  entry_of_id_.reserve(tokens);
  text_.reserve(bytes);
  grow(std::bit_ceil(tokens * 2 + 16));
}

void Vocabulary::grow(std::size_t slots) {
  slots_.assign(slots, {});
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const std::size_t hash = hash_of(text_of(entries_[i]));
    slots_[slot_of(text_of(entries_[i]), hash)] = {tag_of(hash), static_cast<std::int32_t>(i)};
  }
}

std::size_t Vocabulary::slot_of(std::string_view token, std::size_t hash) const {
  const std::size_t mask = slots_.size() - 1;
  const std::uint32_t tag = tag_of(hash);
  std::size_t slot = hash & mask;
  while (slots_[slot].entry >= 0 &&
         (slots_[slot].tag != tag || text_of(entries_[static_cast<std::size_t>(slots_[slot].entry)]) != token))
    slot = (slot + 1) & mask;
  return slot;
}

Vocabulary::Added Vocabulary::add(std::string_view token, TokenId id) {
  RL_CHECK(id >= 0 && id < kMaxVocabulary);
  if (entries_.size() * 2 + 2 > slots_.size()) grow(std::bit_ceil(entries_.size() * 4 + 16));
  const std::size_t hash = hash_of(token), slot = slot_of(token, hash);
  if (slots_[slot].entry >= 0) return Added::duplicate_token;
  const auto index = static_cast<std::size_t>(id);
  if (index < entry_of_id_.size() && entry_of_id_[index] >= 0) return Added::duplicate_id;
  if (index >= entry_of_id_.size()) entry_of_id_.resize(index + 1, -1);
  entry_of_id_[index] = static_cast<std::int32_t>(entries_.size());
  slots_[slot] = {tag_of(hash), entry_of_id_[index]};
  entries_.push_back({.begin = text_.size(), .length = static_cast<std::uint32_t>(token.size()), .id = id});
  text_.append(token);
  longest_ = std::max(longest_, token.size());
  return Added::yes;
}

std::optional<TokenId> Vocabulary::find(std::string_view token) const {
  if (slots_.empty() || token.size() > longest_) return std::nullopt;
  const std::int32_t entry = slots_[slot_of(token, hash_of(token))].entry;
  if (entry < 0) return std::nullopt;
  return entries_[static_cast<std::size_t>(entry)].id;
}

bool Vocabulary::has(TokenId id) const {
  return id >= 0 && id < end_id() && entry_of_id_[static_cast<std::size_t>(id)] >= 0;
}

std::string_view Vocabulary::token(TokenId id) const {
  if (!has(id)) return {};
  return text_of(entries_[static_cast<std::size_t>(entry_of_id_[static_cast<std::size_t>(id)])]);
}

void MergeTable::reserve(std::size_t merges) {
  const std::size_t slots = std::bit_ceil(merges * 2 + 16);
  if (slots <= slots_.size()) return;
  std::vector<Slot> old(slots);
  old.swap(slots_);
  for (const Slot& slot : old)
    if (slot.key != kEmpty) slots_[slot_of(slot.key)] = slot;
}

std::size_t MergeTable::slot_of(std::uint64_t key) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = mix(key) & mask;
  while (slots_[slot].key != key && slots_[slot].key != kEmpty) slot = (slot + 1) & mask;
  return slot;
}

bool MergeTable::add(TokenId left, TokenId right, Merge merge) {
  if ((count_ + 1) * 2 > slots_.size()) reserve(count_ * 2 + 16);
  const std::uint64_t key = key_of(left, right);
  Slot& slot = slots_[slot_of(key)];
  if (slot.key == key) return false;
  slot = {key, merge};
  ++count_;
  return true;
}

MergeTable::Merge MergeTable::find(TokenId left, TokenId right) const {
  return slots_[slot_of(key_of(left, right))].merge;  // an empty slot holds the merge of rank kNone
}

const ByteAlphabet& byte_alphabet() {
  // GPT-2's bytes_to_unicode: printable Latin-1 stands for itself, the other 68 bytes for U+0100 and following.
  static const ByteAlphabet alphabet = [] {
    ByteAlphabet made{};
    made.byte.fill(-1);
    char32_t next = 256;
    for (unsigned byte = 0; byte < 256; ++byte) {
      const bool printable =
          (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
      made.character[byte] = printable ? byte : next++;
      made.byte[made.character[byte]] = static_cast<std::int16_t>(byte);
    }
    return made;
  }();
  return alphabet;
}

void append_byte_characters(std::string& out, std::string_view bytes) {
  const ByteAlphabet& alphabet = byte_alphabet();
  for (char byte : bytes) append_utf8(out, alphabet.character[static_cast<unsigned char>(byte)]);
}

CutTable::CutTable(const Vocabulary& vocabulary, const std::vector<TokenId>& merge_results)
    : active_(true), ascii_(128 * 128, false) {
  std::size_t bytes = 0;
  for (TokenId id : merge_results) {
    const std::string_view token = vocabulary.token(id);
    char32_t left = 0;
    for (std::size_t i = 0; i < token.size(); i += bytes) {
      const char32_t right = code_point(token, i, bytes);
      if (i > 0 && left < 128 && right < 128)
        ascii_[left * 128 + right] = true;
      else if (i > 0)
        others_.insert(pair_of(left, right));
      left = right;
    }
  }
  for (TokenId id = 0; id < vocabulary.end_id(); ++id) {
    const std::string_view token = vocabulary.token(id);
    if (!token.empty() && utf8_length(token[0]) == token.size()) characters_.insert(code_point(token, 0, bytes));
  }
}

bool CutTable::joined(char32_t left, char32_t right) const {
  if (left < 128 && right < 128 && ascii_[left * 128 + right]) return true;
  if ((left >= 128 || right >= 128) && others_.contains(pair_of(left, right))) return true;
  return !characters_.contains(left) || !characters_.contains(right);
}

std::size_t CutTable::next(std::string_view piece, std::size_t from) const {
  if (!active_) return piece.size();
  std::size_t bytes = 0;
  char32_t left = code_point(piece, from, bytes);
  for (std::size_t i = from + bytes; i < piece.size(); i += bytes) {
    const char32_t right = code_point(piece, i, bytes);
    if (!joined(left, right)) return i;
    left = right;
  }
  return piece.size();
}

void Bpe::prepare_cuts() {
  if (options_.ignore_merges) return;
  // A byte token or the unknown token does not spell the text it stands for.
  std::vector<bool> opaque(static_cast<std::size_t>(vocabulary_.end_id()), false);
  for (TokenId id : byte_fallback_id_)
    if (id >= 0) opaque[static_cast<std::size_t>(id)] = true;
  if (options_.unknown) opaque[static_cast<std::size_t>(*options_.unknown)] = true;
  std::vector<TokenId> results;
  bool usable = true;
  merges_.each([&](TokenId left, TokenId right, TokenId merged) {
    usable = usable && !opaque[static_cast<std::size_t>(left)] && !opaque[static_cast<std::size_t>(right)];
    results.push_back(merged);
  });
  if (usable) cuts_ = CutTable(vocabulary_, results);
}

Bpe::Bpe(Vocabulary vocabulary, MergeTable merges, const BpeOptions& options)
    : vocabulary_(std::move(vocabulary)), merges_(std::move(merges)), options_(options) {
  const auto id_or_none = [&](std::string_view token) { return vocabulary_.find(token).value_or(-1); };
  for (unsigned code = 0; code < 128; ++code) {
    const char character = static_cast<char>(code);
    ascii_id_[code] = id_or_none({&character, 1});
  }
  for (unsigned byte = 0; byte < 256; ++byte) {
    std::string character;
    append_utf8(character, byte_alphabet().character[byte]);
    alphabet_id_[byte] = id_or_none(character);
    byte_fallback_id_[byte] = id_or_none(fmt::format("<0x{:02X}>", byte));
  }
}

void Bpe::characters_to_symbols(std::string_view piece, std::vector<TokenId>& symbols) const {
  // As BPE::merge_word of the `tokenizers` library. An unknown token under way is put out before the next known
  // character, but after characters that fell back to bytes meanwhile: the library's order.
  int pending_unknown = 0;
  const auto put_pending = [&] {
    if (pending_unknown > 0) symbols.push_back(*options_.unknown);
    pending_unknown = 0;
  };
  std::size_t length = 0;
  for (std::size_t i = 0; i < piece.size(); i += length) {
    length = utf8_length(piece[i]);
    const std::string_view character = piece.substr(i, length);
    const TokenId id =
        length == 1 ? ascii_id_[static_cast<unsigned char>(piece[i])] : vocabulary_.find(character).value_or(-1);
    if (id >= 0) {
      put_pending();
      symbols.push_back(id);
      continue;
    }
    if (options_.byte_fallback && std::all_of(character.begin(), character.end(), [&](char byte) {
          return byte_fallback_id_[static_cast<unsigned char>(byte)] >= 0;
        })) {
      for (char byte : character) symbols.push_back(byte_fallback_id_[static_cast<unsigned char>(byte)]);
      continue;
    }
    if (!options_.unknown) continue;
    if (!options_.fuse_unknown) put_pending();
    ++pending_unknown;
  }
  put_pending();
}

void Bpe::encode(std::string_view piece, BpeScratch& scratch, std::vector<TokenId>& out) const {
  if (options_.ignore_merges) {
    if (const auto whole = vocabulary_.find(piece)) {
      out.push_back(*whole);
      return;
    }
  }
  scratch.symbols.clear();
  characters_to_symbols(piece, scratch.symbols);
  merge(scratch);
  out.insert(out.end(), scratch.symbols.begin(), scratch.symbols.end());
}

void Bpe::encode_bytes(std::string_view piece, BpeScratch& scratch, std::vector<TokenId>& out) const {
  if (options_.ignore_merges && piece.size() <= vocabulary_.longest()) {
    scratch.characters.clear();
    append_byte_characters(scratch.characters, piece);
    if (const auto whole = vocabulary_.find(scratch.characters)) {
      out.push_back(*whole);
      return;
    }
  }
  scratch.symbols.clear();
  for (char byte : piece) {
    const TokenId id = alphabet_id_[static_cast<unsigned char>(byte)];
    if (id < 0) {  // a vocabulary without the whole alphabet: the rules for unknown characters apply
      scratch.symbols.clear();
      scratch.characters.clear();
      append_byte_characters(scratch.characters, piece);
      characters_to_symbols(scratch.characters, scratch.symbols);
      break;
    }
    scratch.symbols.push_back(id);
  }
  merge(scratch);
  out.insert(out.end(), scratch.symbols.begin(), scratch.symbols.end());
}

void Bpe::merge(BpeScratch& scratch) const {
  if (scratch.symbols.size() < 2) return;
  if (scratch.symbols.size() <= kShortPiece)
    merge_short(scratch);
  else
    merge_long(scratch);
}

void Bpe::merge_short(BpeScratch& scratch) const {
  auto& symbols = scratch.symbols;
  std::size_t count = symbols.size();
  std::array<MergeTable::Merge, kShortPiece> merges;  // of symbols i and i + 1
  for (std::size_t i = 0; i + 1 < count; ++i) merges[i] = merges_.find(symbols[i], symbols[i + 1]);
  while (count > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < count; ++i)
      if (merges[i].rank < merges[best].rank) best = i;
    if (merges[best].rank == MergeTable::kNone) break;
    symbols[best] = merges[best].id;
    for (std::size_t i = best + 1; i + 1 < count; ++i) {
      symbols[i] = symbols[i + 1];
      merges[i - 1] = merges[i];
    }
    --count;
    if (best > 0) merges[best - 1] = merges_.find(symbols[best - 1], symbols[best]);
    if (best + 1 < count) merges[best] = merges_.find(symbols[best], symbols[best + 1]);
  }
  symbols.resize(count);
}

void Bpe::merge_long(BpeScratch& scratch) const {
  constexpr std::uint32_t kEnd = 0xFFFFFFFF;
  auto& symbols = scratch.symbols;
  const auto count = static_cast<std::uint32_t>(symbols.size());
  auto& ranks = scratch.ranks;  // of the pair that begins at a live symbol
  auto& next = scratch.next;
  auto& previous = scratch.previous;
  ranks.assign(count, MergeTable::kNone);
  next.resize(count);
  previous.resize(count);
  RankQueue& queue = scratch.queue;  // an entry whose pair has another rank by now is stale
  queue.start(static_cast<std::size_t>(merges_.size()));
  const auto renew = [&](std::uint32_t at) {
    ranks[at] = next[at] == kEnd ? MergeTable::kNone : merges_.find(symbols[at], symbols[next[at]]).rank;
    if (ranks[at] != MergeTable::kNone) queue.push(ranks[at], at);
  };

  for (std::uint32_t i = 0; i < count; ++i) {
    previous[i] = i == 0 ? kEnd : i - 1;
    next[i] = i + 1 == count ? kEnd : i + 1;
    renew(i);
  }
  std::uint32_t rank = 0, at = 0;
  while (queue.pop(rank, at)) {
    if (ranks[at] != rank) continue;
    const std::uint32_t right = next[at];
    symbols[at] = merges_.find(symbols[at], symbols[right]).id;
    ranks[right] = MergeTable::kNone;
    next[at] = next[right];
    if (next[at] != kEnd) previous[next[at]] = at;
    if (previous[at] != kEnd) renew(previous[at]);
    renew(at);
  }
  std::uint32_t kept = 0;
  for (std::uint32_t i = 0; i != kEnd; i = next[i]) symbols[kept++] = symbols[i];
  symbols.resize(kept);
}

}  // namespace rl::model
