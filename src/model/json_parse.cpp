#include <charconv>

#include "model/json_tree.h"

namespace rl::model::json {

int utf8_length(const char* p, const char* end) {
  auto at = [&](int i) { return i < end - p ? static_cast<unsigned char>(p[i]) : 0u; };
  auto continues = [&](int i) { return (at(i) & 0xC0) == 0x80; };
  const unsigned lead = at(0), second = at(1);
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4 || !continues(1)) return 0;
  if (lead < 0xE0) return 2;
  if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) || !continues(2)) return 0;
  if (lead < 0xF0) return 3;
  if ((lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F) || !continues(3)) return 0;
  return 4;
}

namespace {

void append_utf8(std::string& out, std::uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | (code >> 6));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | (code >> 12));
    out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (code >> 18));
    out += static_cast<char>(0x80 | ((code >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

// What a string's bytes mean to the scanner.
enum : std::uint8_t { kPlain, kQuote, kBackslash, kControl, kMultibyte };
constexpr std::array<std::uint8_t, 256> kStringByte = [] {
  std::array<std::uint8_t, 256> table{};
  for (std::size_t c = 0; c < 256; ++c)
    table[c] = c == '"' ? kQuote : c == '\\' ? kBackslash : c < 0x20 ? kControl : c >= 0x80 ? kMultibyte : kPlain;
  return table;
}();

bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Parser {
 public:
  Parser(Tree& tree, const Limits& limits)
      : tree_(tree), limits_(limits), begin_(tree.text.data()), p_(begin_), end_(begin_ + tree.text.size()) {}

  Status run() {
    if (!document()) return std::move(error_);
    return ok();
  }

 private:
  struct Frame {
    std::uint32_t node;   // the open container
    std::uint32_t key;    // object: the key whose value is being read, or kNone
    std::uint32_t count;  // items begun
    bool object;
  };

  bool document() {
    if (tree_.text.starts_with("\xEF\xBB\xBF"))
      return fail("json.bom", "byte order mark", "text that begins with JSON");
    skip_space();
    if (p_ == end_) return fail("json.empty", "no JSON value", "a value");
    while (true) {
      bool opened = false;
      if (!value(opened)) return false;
      if (opened) {
        if (!first_item()) return false;
        if (!closed_) continue;
      }
      if (!after_value()) return false;
      if (stack_.empty()) break;
    }
    skip_space();
    if (p_ != end_) return fail("json.trailing", "bytes after the JSON value", "the end");
    return true;
  }

  // Begins a value; a scalar is complete after it, a container is open.
  bool value(bool& opened) {
    if (p_ == end_) return truncated();
    switch (*p_) {
      case '{':
      case '[':
        opened = true;
        return open(*p_ == '{');
      case '"':
        return string();
      case 't':
        return literal("true", Type::boolean, true);
      case 'f':
        return literal("false", Type::boolean, false);
      case 'n':
        return literal("null", Type::null, false);
      case 'N':
      case 'I':
      case '+':
        return fail("json.number", "not a JSON number", "a finite number");
      default:
        if (*p_ == '-' || is_digit(*p_)) return number();
        return fail("json.syntax", "not a JSON value", "a value");
    }
  }

  bool open(bool object) {
    if (static_cast<int>(stack_.size()) >= limits_.depth)
      return fail("json.depth", "nested too deeply", fmt::format("at most {} levels", limits_.depth));
    stack_.push_back({add(object ? Type::object : Type::array), kNone, 0, object});
    ++p_;
    return true;
  }

  // After an opening bracket: closes an empty container (closed_) or goes to its first value.
  bool first_item() {
    skip_space();
    closed_ = p_ != end_ && *p_ == (stack_.back().object ? '}' : ']');
    if (closed_) return close();
    return next_item();
  }

  bool next_item() {
    Frame& frame = stack_.back();
    ++frame.count;
    if (!frame.object) return true;
    frame.key = kNone;
    if (p_ == end_) return truncated();
    if (*p_ != '"') return fail("json.syntax", "an object's key must be a string", "a key");
    const auto key = static_cast<std::uint32_t>(tree_.nodes.size());
    if (!string()) return false;
    stack_.back().key = key;
    skip_space();
    if (p_ == end_) return truncated();
    if (*p_ != ':') return fail("json.syntax", "missing colon after a key", "':'");
    ++p_;
    skip_space();
    return true;
  }

  // Closes what ends here; stops before the next value, or at the end with an empty stack.
  bool after_value() {
    while (!stack_.empty()) {
      skip_space();
      if (p_ == end_) return truncated();
      const bool object = stack_.back().object;
      if (*p_ == ',') {
        ++p_;
        skip_space();
        if (p_ != end_ && (*p_ == '}' || *p_ == ']')) return fail("json.syntax", "comma before a bracket", "a value");
        return next_item();
      }
      if (*p_ != (object ? '}' : ']'))
        return fail("json.syntax", "malformed JSON", object ? "',' or '}'" : "',' or ']'");
      if (!close()) return false;
    }
    return true;
  }

  bool close() {
    ++p_;
    const Frame frame = stack_.back();
    Node& node = tree_.nodes[frame.node];
    node.next = static_cast<std::uint32_t>(tree_.nodes.size());
    node.size = frame.count;
    if (frame.object && !unique_keys(frame)) return false;
    stack_.pop_back();
    return true;
  }

  bool unique_keys(const Frame& frame) {
    if (frame.count < 2) return true;
    keys_.clear();
    const std::uint32_t last = tree_.nodes[frame.node].next;
    for (std::uint32_t key = frame.node + 1; key < last; key = tree_.nodes[key + 1].next)
      keys_.emplace_back(tree_.string(key), key);
    // Sorting keeps hostile keys at n log n, where a hash table could be made to collide.
    std::sort(keys_.begin(), keys_.end());
    std::uint32_t twice = kNone;
    for (std::size_t i = 1; i < keys_.size(); ++i)
      if (keys_[i].first == keys_[i - 1].first) twice = std::min(twice, keys_[i].second);
    if (twice == kNone) return true;
    stack_.back().key = twice;
    p_ = begin_ + tree_.nodes[twice].offset;
    return fail("json.duplicate_key", "key given twice", "each key once");
  }

  bool string() {
    const std::uint32_t node = add(Type::string);
    const char* first = ++p_;
    std::size_t arena = 0;
    bool escaped = false;
    while (true) {
      const char* run = p_;
      while (p_ != end_ && kStringByte[static_cast<unsigned char>(*p_)] == kPlain) ++p_;
      if (p_ != end_ && kStringByte[static_cast<unsigned char>(*p_)] == kMultibyte) {
        do {
          const int length = utf8_length(p_, end_);
          if (length == 0) return fail("json.utf8", "invalid UTF-8", "UTF-8");
          p_ += length;
        } while (p_ != end_ && static_cast<unsigned char>(*p_) >= 0x80);
      }
      if (escaped) tree_.arena.append(run, p_);
      if (p_ == end_) return truncated();
      const std::uint8_t kind = kStringByte[static_cast<unsigned char>(*p_)];
      if (kind == kQuote) break;
      if (kind == kControl) return fail("json.string", "control character in a string", "an escape sequence");
      if (kind != kBackslash) continue;
      if (!escaped) {
        escaped = true;
        arena = tree_.arena.size();
        tree_.arena.append(first, p_);
      }
      if (!escape()) return false;
    }
    Node& n = tree_.nodes[node];
    n.escaped = escaped;
    n.arena = static_cast<std::uint32_t>(arena);
    n.size = static_cast<std::uint32_t>(escaped ? tree_.arena.size() - arena : p_ - first);
    ++p_;
    return true;
  }

  bool escape() {
    static constexpr std::string_view kNames = "\"\\/bfnrt", kBytes = "\"\\/\b\f\n\r\t";
    if (end_ - p_ < 2) return p_ = end_, truncated();
    if (p_[1] == 'u') return unicode_escape();
    const std::size_t which = kNames.find(p_[1]);
    if (which == std::string_view::npos)
      return fail("json.escape", "unknown escape sequence", "one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u");
    tree_.arena += kBytes[which];
    p_ += 2;
    return true;
  }

  bool unicode_escape() {
    std::uint32_t code = 0;
    if (!hex4(p_, code)) return fail("json.escape", "malformed \\u escape", "four hexadecimal digits");
    const bool high = code >= 0xD800 && code < 0xDC00, low = code >= 0xDC00 && code < 0xE000;
    std::uint32_t second = 0;
    if (low || (high && !(hex4(p_ + 6, second) && second >= 0xDC00 && second < 0xE000)))
      return fail("json.surrogate", "unpaired surrogate", "a pair \\ud8xx\\udcxx");
    if (high) code = 0x10000 + ((code - 0xD800) << 10) + (second - 0xDC00);
    append_utf8(tree_.arena, code);
    p_ += high ? 12 : 6;
    return true;
  }

  bool hex4(const char* at, std::uint32_t& code) const {
    if (end_ - at < 6 || at[0] != '\\' || at[1] != 'u') return false;
    const auto result = std::from_chars(at + 2, at + 6, code, 16);
    return result.ec == std::errc() && result.ptr == at + 6;
  }

  bool number() {
    const char* first = p_;
    const std::uint32_t node = add(Type::number);
    auto digits = [&] {
      const char* start = p_;
      while (p_ != end_ && is_digit(*p_)) ++p_;
      return p_ != start;
    };
    auto malformed = [&] {
      p_ = first;
      return fail("json.number", "not a JSON number", "a finite number");
    };
    if (*p_ == '-') ++p_;
    const char* whole = p_;
    if (!digits() || (*whole == '0' && p_ - whole > 1)) return malformed();
    bool check_range = p_ - whole > 300;
    if (p_ != end_ && *p_ == '.') {
      ++p_;
      if (!digits()) return malformed();
    }
    if (p_ != end_ && (*p_ == 'e' || *p_ == 'E')) {
      check_range = true;
      ++p_;
      if (p_ != end_ && (*p_ == '+' || *p_ == '-')) ++p_;
      if (!digits()) return malformed();
    }
    double ignored = 0;
    if (check_range && std::from_chars(first, p_, ignored).ec != std::errc()) return malformed();
    tree_.nodes[node].size = static_cast<std::uint32_t>(p_ - first);
    return true;
  }

  bool literal(std::string_view word, Type type, bool truth) {
    if (!std::string_view(p_, end_).starts_with(word)) return fail("json.syntax", "not a JSON value", "a value");
    Node& node = tree_.nodes[add(type)];
    node.truth = truth;
    node.size = static_cast<std::uint32_t>(word.size());
    p_ += word.size();
    return true;
  }

  std::uint32_t add(Type type) {
    const auto index = static_cast<std::uint32_t>(tree_.nodes.size());
    tree_.nodes.push_back({.offset = static_cast<std::uint32_t>(p_ - begin_), .next = index + 1, .type = type});
    return index;
  }

  void skip_space() {
    while (p_ != end_ && (*p_ == ' ' || *p_ == '\n' || *p_ == '\r' || *p_ == '\t')) ++p_;
  }

  bool truncated() { return fail("json.syntax", "the text ends too early", "more text"); }

  bool fail(std::string_view rule, std::string what, std::string expected) {
    std::string path;
    for (const Frame& frame : stack_) {
      if (frame.object && frame.key != kNone) append_key(path, tree_.string(frame.key));
      if (!frame.object && frame.count > 0) path += fmt::format("[{}]", frame.count - 1);
    }
    error_ = {.kind = ErrorKind::invalid_input,
              .what = std::move(what),
              .rule = std::string(rule),
              .file = tree_.file,
              .field = std::move(path),
              .offset = tree_.base + (p_ - begin_),
              .expected = std::move(expected),
              .found = p_ == end_ ? "the end" : printable({p_, std::min(end_, p_ + 24)}, 24)};
    return false;
  }

  Tree& tree_;
  const Limits& limits_;
  const char *begin_, *p_, *end_;
  std::vector<Frame> stack_;
  std::vector<std::pair<std::string_view, std::uint32_t>> keys_;
  bool closed_ = false;
  Error error_;
};

}  // namespace

Status parse_tree(Tree& tree, const Limits& limits) { return Parser(tree, limits).run(); }

}  // namespace rl::model::json
