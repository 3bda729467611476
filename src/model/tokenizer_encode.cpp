#include <algorithm>
#include <bit>
#include <functional>

#include "model/tokenizer_impl.h"

namespace rl::model {
namespace {

// Remembers where in the output the ids of recent pieces stand, since text repeats its words: a direct-mapped table
// that lives for one call, so that threads share nothing.
class PieceCache {
 public:
  struct Slot {
    const char* text = nullptr;
    std::uint32_t length = 0, count = 0;
    std::size_t out = 0;
    std::uint64_t generation = 0;
  };

  explicit PieceCache(std::size_t text_bytes) {
    // At most 32768 slots (1.25 MiB); a short text would pay more for clearing them than they save.
    if (text_bytes >= 512) slots_.resize(std::min<std::size_t>(std::bit_ceil(text_bytes / 16), 32768));
  }
  // Null if the piece is not to be remembered.
  Slot* slot_of(std::string_view piece) {
    if (slots_.empty() || piece.size() > kLongest) return nullptr;
    return &slots_[std::hash<std::string_view>{}(piece) & (slots_.size() - 1)];
  }
  bool holds(const Slot& slot, std::string_view piece) const {
    return slot.generation == generation_ && std::string_view(slot.text, slot.length) == piece;
  }
  void fill(Slot& slot, std::string_view piece, std::size_t out, std::size_t count) const {
    slot = {.text = piece.data(),
            .length = static_cast<std::uint32_t>(piece.size()),
            .count = static_cast<std::uint32_t>(count),
            .out = out,
            .generation = generation_};
  }
  void forget() { ++generation_; }  // the text that slots point into is gone

 private:
  static constexpr std::size_t kLongest = 64;
  std::vector<Slot> slots_;
  std::uint64_t generation_ = 1;
};

class Encoder {
 public:
  Encoder(const TokenizerParts& parts, std::string_view text, std::vector<TokenId>& out)
      : parts_(parts), text_(text), out_(out), cache_(text.size()) {}

  Status run() {
    if (parts_.added.empty(AddedTokens::Kind::raw)) return text_.empty() ? ok() : raw(text_, true);
    std::vector<Section> sections;
    parts_.added.split(text_, AddedTokens::Kind::raw, sections);
    for (const Section& section : sections) {
      if (section.id >= 0)
        out_.push_back(section.id);
      else
        RL_TRY(raw(text_.substr(section.begin, section.end - section.begin), section.begin == 0));
    }
    return ok();
  }

 private:
  Status raw(std::string_view part, bool at_start) {
    if (parts_.normalizers.empty()) return normalized(part, at_start);
    NormalizedText text{.text = std::string(part), .at_start = at_start};
    RL_TRY(normalize(parts_, text));
    RL_TRY(normalized(text.text, text.at_start));
    cache_.forget();
    return ok();
  }

  Status normalized(std::string_view part, bool at_start) {
    if (parts_.added.empty(AddedTokens::Kind::normalized)) return plain(part, at_start);
    std::vector<Section> sections;
    parts_.added.split(part, AddedTokens::Kind::normalized, sections);
    for (const Section& section : sections) {
      if (section.id >= 0)
        out_.push_back(section.id);
      else
        RL_TRY(plain(part.substr(section.begin, section.end - section.begin), at_start && section.begin == 0));
    }
    return ok();
  }

  Status plain(std::string_view part, bool at_start) {
    if (part.empty()) return ok();
    Pieces pieces;
    pieces.text = part;
    pieces.pieces.push_back({0, part.size(), at_start});
    for (const auto& pretokenizer : parts_.pretokenizers) RL_TRY(pretokenizer->apply(pieces));
    for (const Piece& piece : pieces.pieces) {
      if (pieces.raw_bytes)
        encode_piece(pieces[piece], true);
      else
        encode_cut(pieces[piece]);
    }
    if (pieces.text.data() == pieces.own.data()) cache_.forget();
    return ok();
  }

  void encode_cut(std::string_view piece) {
    std::size_t end = 0;
    for (std::size_t begin = 0; begin < piece.size(); begin = end) {
      end = parts_.bpe.cuts().next(piece, begin);
      encode_piece(piece.substr(begin, end - begin), false);
    }
  }

  void encode_piece(std::string_view piece, bool raw_bytes) {
    PieceCache::Slot* slot = cache_.slot_of(piece);
    if (slot != nullptr && cache_.holds(*slot, piece)) {
      for (std::size_t i = 0; i < slot->count; ++i) out_.push_back(out_[slot->out + i]);
      return;
    }
    const std::size_t before = out_.size();
    if (raw_bytes)
      parts_.bpe.encode_bytes(piece, scratch_, out_);
    else
      parts_.bpe.encode(piece, scratch_, out_);
    if (slot != nullptr) cache_.fill(*slot, piece, before, out_.size() - before);
  }

  const TokenizerParts& parts_;
  std::string_view text_;
  std::vector<TokenId>& out_;
  PieceCache cache_;
  BpeScratch scratch_;
};

}  // namespace

Status normalize(const TokenizerParts& parts, NormalizedText& text) {
  // Marks and compatibility forms lengthen a text up to 18 times; a file that asks for far more would exhaust memory.
  text.limit = text.text.size() * 64 + 8192;
  for (const auto& normalizer : parts.normalizers) RL_TRY(normalizer->apply(text));
  return ok();
}

Status encode_text(const TokenizerParts& parts, std::string_view text, std::vector<TokenId>& out) {
  return Encoder(parts, text, out).run();
}

}  // namespace rl::model
