#include <algorithm>
#include <array>
#include <vector>

#include <fmt/core.h>

#include "model/pretokenizer_regex.h"
#include "model/tokenizer_unicode.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace rl::model {
namespace {

// Oniguruma's classes in a form for use inside [...]. The word characters were found by asking it about each character:
// outside of [...] six of Latin-1 are among them, since that range has a table of its own.
constexpr std::string_view kWordInClass = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";
constexpr std::string_view kWord = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}";
constexpr std::string_view kHexDigit = "0-9A-Fa-f";

bool is_script(std::string_view name) {
  const std::string probe = fmt::format("\\p{{sc:{}}}", name);
  int code = 0;
  PCRE2_SIZE at = 0;
  pcre2_code* compiled = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(probe.data()), probe.size(), PCRE2_UTF | PCRE2_UCP,
                                       &code, &at, nullptr);
  const bool found = compiled != nullptr;
  pcre2_code_free(compiled);
  return found;
}

class Rewriter {
 public:
  explicit Rewriter(std::string_view pattern) : in_(pattern) {}

  Result<std::string> run() {
    while (at_ < in_.size()) RL_TRY(in_class_ ? class_item() : item());
    return std::move(out_);
  }

 private:
  bool next_is(std::string_view text) const { return in_.substr(at_).starts_with(text); }
  Error refused(std::string_view what, std::size_t length) const {
    return {.kind = ErrorKind::unsupported,
            .what = fmt::format("the regular expression uses {}, which is not implemented", what),
            .rule = "tokenizer.regex_syntax",
            .offset = static_cast<std::int64_t>(at_),
            .found = std::string(in_.substr(at_, length))};
  }
  void copy(std::size_t bytes) {
    bytes = std::min(bytes, in_.size() - at_);
    out_.append(in_.substr(at_, bytes));
    at_ += bytes;
  }
  void replace(std::size_t bytes, std::string_view with) {
    out_.append(with);
    at_ += bytes;
  }

  Status item() {
    switch (in_[at_]) {
      case '\\':
        atom_ = out_.size();
        return escape();
      case '[':
        atom_ = out_.size();
        return begin_class();
      case '(':
        return begin_group();
      case ')':
        atom_ = groups_.empty() ? out_.size() : groups_.back();
        if (!groups_.empty()) groups_.pop_back();
        copy(1);
        return ok();
      case '{':
        return interval();
      case '*':
      case '+':
      case '?':
      case '|':
        copy(1);
        return ok();
      default:
        atom_ = out_.size();
        copy(utf8_length(in_[at_]));
        return ok();
    }
  }

  Status begin_group() {
    if (next_is("(*")) return refused("a callout or verb", 2);
    groups_.push_back(out_.size());
    if (!next_is("(?")) {
      copy(1);
      return ok();
    }
    for (std::string_view known : {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?#"})
      if (next_is(known)) {
        if (known == "(?#") {  // a comment ends at the next parenthesis, whatever is in it
          const std::size_t end = std::min(in_.find(')', at_), in_.size() - 1);
          groups_.pop_back();
          at_ = end + 1;
        } else {
          copy(known.size());
        }
        return ok();
      }
    if (next_is("(?<")) {
      copy(3);
      return ok();
    }
    // Options: Ruby's m lets a dot match a newline, which PCRE2 calls s.
    std::size_t end = at_ + 2;
    while (end < in_.size() && (in_[end] == 'i' || in_[end] == 'm' || in_[end] == 'x' || in_[end] == '-')) ++end;
    if (end >= in_.size() || (in_[end] != ':' && in_[end] != ')'))
      return refused("a group of this kind", end + 1 - at_);
    if (in_[end] == ')') {
      // In the middle, Ruby's option would span the alternatives that follow: a(?i)b|c is a(?i:b|c).
      if (at_ != 0) return refused("an option in the middle", end + 1 - at_);
      groups_.pop_back();
    }
    std::string options(in_.substr(at_, end + 1 - at_));
    std::replace(options.begin() + 2, options.end(), 'm', 's');
    replace(options.size(), options);
    return ok();
  }

  // {,n} means {0,n}; {n,m}+ repeats the repetition (it is not possessive), {n}? makes it optional (it is not lazy).
  Status interval() {
    std::size_t end = at_ + 1;
    const auto digits = [&] {
      const std::size_t from = end;
      while (end < in_.size() && in_[end] >= '0' && in_[end] <= '9') ++end;
      return end - from;
    };
    const std::size_t low = digits();
    bool comma = false;
    std::size_t high = 0;
    if (end < in_.size() && in_[end] == ',') {
      comma = true;
      ++end;
      high = digits();
    }
    if (end >= in_.size() || in_[end] != '}' || low + high == 0) {  // a plain brace
      atom_ = out_.size();
      replace(1, "\\{");
      return ok();
    }
    std::string repeat(in_.substr(at_, end + 1 - at_));
    if (low == 0) repeat.insert(1, "0");
    at_ = end + 1;
    if (next_is("+") || (next_is("?") && !comma)) {
      out_.insert(atom_, "(?:");
      out_.append(repeat).append(")");
    } else {
      out_.append(repeat);
    }
    return ok();
  }

  Status begin_class() {
    in_class_ = true;
    copy(1);
    if (next_is("^")) copy(1);
    if (next_is("]")) copy(1);  // a bracket in first place stands for itself
    return ok();
  }

  Status class_item() {
    const char c = in_[at_];
    if (c == ']') {
      in_class_ = false;
      copy(1);
      return ok();
    }
    if (c == '\\') return escape();
    if (next_is("&&")) return refused("an intersection of classes", 2);
    if (next_is("[:")) return posix_class();
    if (c == '[') return refused("a class inside a class", 1);
    copy(utf8_length(c));
    return ok();
  }

  Status posix_class() {
    struct Names {
      std::string_view posix, property;
    };
    static constexpr std::array<Names, 6> kNames{{{"[:alpha:]", "\\p{Alphabetic}"},
                                                  {"[:digit:]", "\\p{Nd}"},
                                                  {"[:alnum:]", "\\p{Alphabetic}\\p{Nd}"},
                                                  {"[:space:]", "\\p{White_Space}"},
                                                  {"[:upper:]", "\\p{Uppercase}"},
                                                  {"[:lower:]", "\\p{Lowercase}"}}};
    for (const Names& names : kNames)
      if (next_is(names.posix)) {
        replace(names.posix.size(), names.property);
        return ok();
      }
    return refused("a POSIX class of this name", std::min<std::size_t>(in_.find(']', at_) - at_ + 1, 12));
  }

  Status word_class(std::string_view letter) {
    if (letter == "w") {
      replace(2, in_class_ ? std::string(kWordInClass) : fmt::format("[{}]", kWord));
      return ok();
    }
    if (in_class_ && letter == "b") {  // backspace
      copy(2);
      return ok();
    }
    if (in_class_) return refused("this escape inside a class", 2);
    if (letter == "W") {
      replace(2, fmt::format("[^{}]", kWord));
    } else {
      const bool edge = letter == "b";
      replace(
          2, fmt::format("(?:(?<=[{0}])(?{1}[{0}])|(?<![{0}])(?{2}[{0}]))", kWord, edge ? "!" : "=", edge ? "=" : "!"));
    }
    return ok();
  }

  Status escape() {
    if (at_ + 1 >= in_.size()) {
      copy(1);  // PCRE2 says what is wrong
      return ok();
    }
    const char c = in_[at_ + 1];
    switch (c) {
      case 's':
        replace(2, "\\p{White_Space}");
        return ok();
      case 'S':
        replace(2, "\\P{White_Space}");
        return ok();
      case 'w':
      case 'W':
      case 'b':
      case 'B':
        return word_class(in_.substr(at_ + 1, 1));
      case 'v':
        replace(2, "\\x{0b}");
        return ok();
      case 'h':
        replace(2, in_class_ ? std::string(kHexDigit) : fmt::format("[{}]", kHexDigit));
        return ok();
      case 'p':
      case 'P':
        return property();
      case 'u':
        if (at_ + 6 > in_.size()) return refused("an incomplete \\u", 6);
        replace(6, fmt::format("\\x{{{}}}", in_.substr(at_ + 2, 4)));
        return ok();
      default:
        break;
    }
    if (c == 'x' && in_.substr(at_ + 2).starts_with("{")) {
      copy(in_.find('}', at_) == std::string_view::npos ? in_.size() - at_ : in_.find('}', at_) + 1 - at_);
      return ok();
    }
    const bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    if (letter && std::string_view("dDnrtfaexAzZ").find(c) == std::string_view::npos)
      return refused("an escape of this kind", 2);
    if (c >= '1' && c <= '9' && !in_class_) return refused("a back-reference", 2);
    copy(1 + utf8_length(c));
    return ok();
  }

  // A script's name means the script itself; in PCRE2 it means the script extensions unless "sc:" says otherwise.
  Status property() {
    const std::size_t end = in_.find('}', at_);
    if (at_ + 2 >= in_.size() || in_[at_ + 2] != '{' || end == std::string_view::npos)
      return refused("a property without braces", 2);
    std::string_view name = in_.substr(at_ + 3, end - at_ - 3);
    bool negated = in_[at_ + 1] == 'P';
    if (name.starts_with("^")) {
      negated = !negated;
      name.remove_prefix(1);
    }
    const bool script = name.size() > 2 && name.find(':') == std::string_view::npos && is_script(name);
    replace(end + 1 - at_, fmt::format("\\{}{{{}{}}}", negated ? 'P' : 'p', script ? "sc:" : "", name));
    return ok();
  }

  std::string_view in_;
  std::size_t at_ = 0;
  std::string out_;
  bool in_class_ = false;
  std::size_t atom_ = 0;             // where the last repeatable item begins in out_
  std::vector<std::size_t> groups_;  // where open groups begin in out_
};

}  // namespace

Result<std::string> oniguruma_to_pcre2(std::string_view pattern) { return Rewriter(pattern).run(); }

}  // namespace rl::model
