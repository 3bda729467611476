#include "model/pretokenizer.h"

#include <algorithm>

#include <utf8proc.h>

#include "model/bpe.h"
#include "model/tokenizer_unicode.h"

namespace rl::model {
namespace {

// The whole of a piece as stretches that are delimiters or not: Pattern::find_matches of the `tokenizers` library.
struct Stretch {
  std::size_t begin = 0, end = 0;
  bool delimiter = false;
};

class Delimiter {
 public:
  virtual ~Delimiter() = default;
  // One for each use of the delimiter, so that scratch memory is made once per text and not once per piece.
  class Search {
   public:
    virtual ~Search() = default;
    virtual Status find(std::string_view piece, std::vector<Stretch>& out) = 0;
  };
  virtual std::unique_ptr<Search> search() const = 0;
};

void add_match(std::vector<Stretch>& out, std::size_t begin, std::size_t end) {
  const std::size_t before = out.empty() ? 0 : out.back().end;
  if (before != begin) out.push_back({before, begin, false});
  out.push_back({begin, end, true});
}
void add_rest(std::vector<Stretch>& out, std::size_t size) {
  const std::size_t before = out.empty() ? 0 : out.back().end;
  if (before != size) out.push_back({before, size, false});
}

class RegexDelimiter final : public Delimiter {
 public:
  explicit RegexDelimiter(Regex pattern) : pattern_(std::move(pattern)) {}
  std::unique_ptr<Search> search() const override { return std::make_unique<Run>(pattern_); }

 private:
  class Run final : public Search {
   public:
    explicit Run(const Regex& pattern) : finder_(pattern) {}
    Status find(std::string_view piece, std::vector<Stretch>& out) override {
      finder_.start(piece);
      Regex::Match match;
      for (;;) {
        RL_ASSIGN(const bool more, finder_.next(match));
        if (!more) break;
        add_match(out, match.begin, match.end);
      }
      add_rest(out, piece.size());
      return ok();
    }

   private:
    Regex::Finder finder_;
  };
  Regex pattern_;
};

class LiteralDelimiter final : public Delimiter {
 public:
  explicit LiteralDelimiter(std::string literal) : literal_(std::move(literal)) {}
  std::unique_ptr<Search> search() const override { return std::make_unique<Run>(literal_); }

 private:
  class Run final : public Search {
   public:
    explicit Run(const std::string& literal) : literal_(literal) {}
    Status find(std::string_view piece, std::vector<Stretch>& out) override {
      for (std::size_t at = piece.find(literal_); at != std::string_view::npos;
           at = piece.find(literal_, at + literal_.size()))
        add_match(out, at, at + literal_.size());
      add_rest(out, piece.size());
      return ok();
    }

   private:
    std::string_view literal_;
  };
  std::string literal_;
};

bool is_in(CharacterClass wanted, char32_t code) {
  if (wanted == CharacterClass::white_space) return is_white_space(code);
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(code));
  if (wanted == CharacterClass::numeric)
    return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL || category == UTF8PROC_CATEGORY_NO;
  if (code < 0x80)
    return code > 0x20 && code < 0x7F && category != UTF8PROC_CATEGORY_ND && category != UTF8PROC_CATEGORY_LU &&
           category != UTF8PROC_CATEGORY_LL;
  return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

class ClassDelimiter final : public Delimiter {
 public:
  explicit ClassDelimiter(CharacterClass characters) : characters_(characters) {}
  std::unique_ptr<Search> search() const override { return std::make_unique<Run>(characters_); }

 private:
  class Run final : public Search {
   public:
    explicit Run(CharacterClass characters) : characters_(characters) {}
    Status find(std::string_view piece, std::vector<Stretch>& out) override {
      std::size_t bytes = 0;
      for (std::size_t i = 0; i < piece.size(); i += bytes)
        if (is_in(characters_, code_point(piece, i, bytes))) add_match(out, i, i + bytes);
      add_rest(out, piece.size());
      return ok();
    }

   private:
    CharacterClass characters_;
  };
  CharacterClass characters_;
};

// Joins or drops stretches: NormalizedString::split of the library. Works in place.
void apply_behavior(SplitBehavior behavior, std::vector<Stretch>& stretches) {
  if (behavior == SplitBehavior::isolated) return;
  if (behavior == SplitBehavior::removed) {
    std::erase_if(stretches, [](const Stretch& s) { return s.delimiter; });
    return;
  }
  const bool backwards = behavior == SplitBehavior::merged_with_next;
  if (backwards) std::reverse(stretches.begin(), stretches.end());
  bool previous = false;
  std::size_t kept = 0;
  for (const Stretch& s : stretches) {
    const bool join = behavior == SplitBehavior::contiguous ? s.delimiter == previous : s.delimiter && !previous;
    previous = s.delimiter;
    if (join && kept > 0) {
      (backwards ? stretches[kept - 1].begin : stretches[kept - 1].end) = backwards ? s.begin : s.end;
    } else {
      stretches[kept++] = s;
    }
  }
  stretches.resize(kept);
  if (backwards) std::reverse(stretches.begin(), stretches.end());
}

class Split final : public PreTokenizer {
 public:
  Split(std::unique_ptr<Delimiter> delimiter, SplitOptions options)
      : delimiter_(std::move(delimiter)), options_(options) {}

  Status apply(Pieces& pieces) const override {
    std::vector<Piece> cut;
    cut.reserve(pieces.pieces.size() + pieces.text.size() / 6);
    std::vector<Stretch> stretches;
    const auto search = delimiter_->search();
    for (const Piece& piece : pieces.pieces) {
      stretches.clear();
      RL_TRY(search->find(pieces[piece], stretches));
      if (options_.invert)
        for (Stretch& s : stretches) s.delimiter = !s.delimiter;
      apply_behavior(options_.behavior, stretches);
      for (const Stretch& s : stretches)
        if (s.begin != s.end)
          cut.push_back({piece.begin + s.begin, piece.begin + s.end, piece.at_start && s.begin == 0});
    }
    pieces.pieces = std::move(cut);
    return ok();
  }

 private:
  std::unique_ptr<Delimiter> delimiter_;
  SplitOptions options_;
};

// GPT-2's pattern, as the library has it inside ByteLevel.
constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

class ByteLevel final : public PreTokenizer {
 public:
  explicit ByteLevel(const ByteLevelOptions& options) : options_(options) {
    if (!options.use_regex) return;
    auto pattern = Regex::compile(kGpt2Pattern);
    RL_CHECK_MSG(pattern.has_value(), pattern.error().what);
    split_ = make_split(*std::move(pattern), {});
  }

  Status apply(Pieces& pieces) const override {
    if (options_.add_prefix_space) add_spaces(pieces);
    if (split_) RL_TRY(split_->apply(pieces));
    if (options_.last)
      pieces.raw_bytes = true;
    else
      to_characters(pieces);
    return ok();
  }
  bool makes_raw_bytes() const override { return options_.last; }

 private:
  static void add_spaces(Pieces& pieces) {
    std::string text;
    std::vector<Piece> made;
    for (const Piece& piece : pieces.pieces) {
      const std::size_t begin = text.size();
      if (!pieces[piece].starts_with(' ')) text += ' ';
      text.append(pieces[piece]);
      made.push_back({begin, text.size(), piece.at_start});
    }
    pieces.replace(std::move(text), std::move(made));
  }
  static void to_characters(Pieces& pieces) {
    std::string text;
    std::vector<Piece> made;
    for (const Piece& piece : pieces.pieces) {
      const std::size_t begin = text.size();
      append_byte_characters(text, pieces[piece]);
      made.push_back({begin, text.size(), piece.at_start});
    }
    pieces.replace(std::move(text), std::move(made));
  }

  ByteLevelOptions options_;
  std::unique_ptr<PreTokenizer> split_;
};

class Metaspace final : public PreTokenizer {
 public:
  explicit Metaspace(MetaspaceOptions options) : options_(std::move(options)) {
    if (options_.split) split_ = make_split(options_.replacement, {.behavior = SplitBehavior::merged_with_next});
  }

  Status apply(Pieces& pieces) const override {
    std::string text;
    text.reserve(pieces.text.size() + pieces.text.size() / 2);
    std::vector<Piece> made;
    for (const Piece& piece : pieces.pieces) {
      const std::size_t begin = text.size();
      const std::string_view old = pieces[piece];
      const bool prepend =
          options_.prepend == PrependScheme::always || (options_.prepend == PrependScheme::first && piece.at_start);
      if (prepend && !old.starts_with(' ') && !old.starts_with(options_.replacement)) text += options_.replacement;
      for (char c : old)
        if (c == ' ')
          text += options_.replacement;
        else
          text += c;
      made.push_back({begin, text.size(), piece.at_start});
    }
    pieces.replace(std::move(text), std::move(made));
    return split_ ? split_->apply(pieces) : ok();
  }

 private:
  MetaspaceOptions options_;
  std::unique_ptr<PreTokenizer> split_;
};

}  // namespace

void Pieces::replace(std::string new_text, std::vector<Piece> new_pieces) {
  own = std::move(new_text);
  text = own;
  pieces = std::move(new_pieces);
}

std::unique_ptr<PreTokenizer> make_split(Regex pattern, SplitOptions options) {
  return std::make_unique<Split>(std::make_unique<RegexDelimiter>(std::move(pattern)), options);
}
std::unique_ptr<PreTokenizer> make_split(std::string literal, SplitOptions options) {
  RL_CHECK(!literal.empty());
  return std::make_unique<Split>(std::make_unique<LiteralDelimiter>(std::move(literal)), options);
}
std::unique_ptr<PreTokenizer> make_split(CharacterClass delimiter, SplitOptions options) {
  return std::make_unique<Split>(std::make_unique<ClassDelimiter>(delimiter), options);
}
std::unique_ptr<PreTokenizer> make_byte_level(const ByteLevelOptions& options) {
  return std::make_unique<ByteLevel>(options);
}
std::unique_ptr<PreTokenizer> make_metaspace(MetaspaceOptions options) {
  return std::make_unique<Metaspace>(std::move(options));
}

}  // namespace rl::model
