#pragma once
// Pre-tokenizers of tokenizer.json: what cuts a text into the pieces that BPE merges within.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/pretokenizer_regex.h"

namespace rl::model {

struct Piece {
  std::size_t begin = 0, end = 0;  // bytes of Pieces::text
  bool at_start = false;           // its first byte comes from the first byte of the whole input
};

struct Pieces {
  Pieces() = default;
  Pieces(const Pieces&) = delete;  // text may view own
  Pieces& operator=(const Pieces&) = delete;

  std::string_view text;  // of the caller, or `own`
  std::string own;
  std::vector<Piece> pieces;
  bool raw_bytes = false;  // the pieces are bytes that stand for characters of the byte alphabet

  std::string_view operator[](const Piece& piece) const { return text.substr(piece.begin, piece.end - piece.begin); }
  // Takes over a new text and its pieces.
  void replace(std::string text, std::vector<Piece> pieces);
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // Errors: unsupported, rule tokenizer.regex_steps.
  virtual Status apply(Pieces& pieces) const = 0;
  virtual bool makes_raw_bytes() const { return false; }
};

// What becomes of the matches of a delimiter.
enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };
// What a delimiter is: a pattern, a literal string, or any single character of a class.
enum class CharacterClass { white_space, numeric, punctuation };

struct SplitOptions {
  SplitBehavior behavior = SplitBehavior::isolated;
  bool invert = false;  // the text between matches is the delimiter
};
std::unique_ptr<PreTokenizer> make_split(Regex pattern, SplitOptions options);
std::unique_ptr<PreTokenizer> make_split(std::string literal, SplitOptions options);  // literal: not empty
std::unique_ptr<PreTokenizer> make_split(CharacterClass delimiter, SplitOptions options);

struct ByteLevelOptions {
  bool add_prefix_space = false;
  bool use_regex = true;  // cut by GPT-2's pattern
  bool last = false;      // nothing follows: pieces may stay raw bytes
};
std::unique_ptr<PreTokenizer> make_byte_level(const ByteLevelOptions& options);

enum class PrependScheme { always, first, never };
struct MetaspaceOptions {
  std::string replacement;  // one character
  PrependScheme prepend = PrependScheme::always;
  bool split = true;
};
std::unique_ptr<PreTokenizer> make_metaspace(MetaspaceOptions options);

}  // namespace rl::model
