#include "model/normalizer.h"

#include <algorithm>

#include <fmt/core.h>
#include <utf8proc.h>

#include "model/tokenizer_unicode.h"

namespace rl::model {
namespace {

int combining_class(utf8proc_int32_t code) { return utf8proc_get_property(code)->combining_class; }

// Canonical order: runs of combining marks sorted by class, stable. utf8proc's own decomposition does this by
// exchanging neighbours, which takes quadratic time on a long run of marks.
void order_marks(std::vector<utf8proc_int32_t>& codes) {
  for (std::size_t i = 0; i < codes.size();) {
    if (combining_class(codes[i]) == 0) {
      ++i;
      continue;
    }
    std::size_t end = i + 1;
    while (end < codes.size() && combining_class(codes[end]) != 0) ++end;
    if (end - i > 1)
      std::stable_sort(codes.begin() + static_cast<std::ptrdiff_t>(i), codes.begin() + static_cast<std::ptrdiff_t>(end),
                       [](auto a, auto b) { return combining_class(a) < combining_class(b); });
    i = end;
  }
}

void append_normalized(std::string& out, std::string_view part, UnicodeForm form,
                       std::vector<utf8proc_int32_t>& codes) {
  const bool compose = form == UnicodeForm::nfc || form == UnicodeForm::nfkc;
  const bool compatible = form == UnicodeForm::nfkc || form == UnicodeForm::nfkd;
  const auto options =
      static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0));
  codes.clear();
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < part.size(); i += bytes) {
    const auto code = static_cast<utf8proc_int32_t>(code_point(part, i, bytes));
    utf8proc_int32_t made[32];  // the longest decomposition (U+FDFA, compatibility) has 18
    const auto count = utf8proc_decompose_char(code, made, 32, options, nullptr);
    RL_CHECK(count >= 0 && count <= 32);
    codes.insert(codes.end(), made, made + count);
  }
  order_marks(codes);
  auto length = static_cast<utf8proc_ssize_t>(codes.size());
  if (compose) {
    length = utf8proc_normalize_utf32(codes.data(), length,
                                      static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    RL_CHECK(length >= 0);
  }
  for (utf8proc_ssize_t i = 0; i < length; ++i)
    append_utf8(out, static_cast<char32_t>(codes[static_cast<std::size_t>(i)]));
}

class UnicodeNormalizer final : public Normalizer {
 public:
  explicit UnicodeNormalizer(UnicodeForm form) : form_(form) {}
  Status apply(NormalizedText& text) const override {
    text.text = to_unicode_form(text.text, form_);
    return ok();
  }

 private:
  UnicodeForm form_;
};

class PrependNormalizer final : public Normalizer {
 public:
  explicit PrependNormalizer(std::string prefix) : prefix_(std::move(prefix)) {}
  Status apply(NormalizedText& text) const override {
    if (!text.text.empty()) text.text.insert(0, prefix_);
    return ok();
  }

 private:
  std::string prefix_;
};

// Replacing the first bytes by nothing moves the text's beginning away from the input's.
void drop_start(NormalizedText& text, std::size_t begin) {
  if (begin > 0) text.at_start = false;
}

Status check_growth(std::size_t bytes, const NormalizedText& text) {
  if (bytes <= text.limit) return ok();
  return Error{.kind = ErrorKind::unsupported,
               .what = "the tokenizer's normaliser makes the text much longer",
               .rule = "tokenizer.text_growth",
               .expected = fmt::format("at most {} bytes", text.limit),
               .found = fmt::format("{} bytes and more", bytes)};
}

class ReplaceString final : public Normalizer {
 public:
  ReplaceString(std::string pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  Status apply(NormalizedText& text) const override {
    std::size_t found = text.text.find(pattern_);
    if (found == std::string::npos) return ok();
    std::string out;
    out.reserve(text.text.size());
    std::size_t at = 0;
    for (; found != std::string::npos; found = text.text.find(pattern_, at)) {
      out.append(text.text, at, found - at).append(content_);
      RL_TRY(check_growth(out.size(), text));
      if (out.empty()) drop_start(text, pattern_.size());
      at = found + pattern_.size();
    }
    out.append(text.text, at);
    text.text = std::move(out);
    return ok();
  }

 private:
  std::string pattern_, content_;
};

class ReplaceRegex final : public Normalizer {
 public:
  ReplaceRegex(Regex pattern, std::string content) : pattern_(std::move(pattern)), content_(std::move(content)) {}
  Status apply(NormalizedText& text) const override {
    if (text.text.empty()) return ok();
    Regex::Finder finder(pattern_);
    finder.start(text.text);
    std::string out;
    std::size_t at = 0;
    Regex::Match match;
    for (;;) {
      RL_ASSIGN(const bool more, finder.next(match));
      if (!more) break;
      out.append(text.text, at, match.begin - at).append(content_);
      RL_TRY(check_growth(out.size(), text));
      if (out.empty()) drop_start(text, match.end);
      at = match.end;
    }
    out.append(text.text, at);
    text.text = std::move(out);
    return ok();
  }

 private:
  Regex pattern_;
  std::string content_;
};

class StripNormalizer final : public Normalizer {
 public:
  StripNormalizer(bool left, bool right) : left_(left), right_(right) {}
  Status apply(NormalizedText& text) const override {
    if (right_) text.text.resize(text.text.size() - white_space_at_end(text.text));
    if (left_) {
      const std::size_t begin = white_space_at_start(text.text);
      drop_start(text, begin);
      text.text.erase(0, begin);
    }
    return ok();
  }

 private:
  bool left_, right_;
};

}  // namespace

std::string to_unicode_form(std::string_view text, UnicodeForm form) {
  // Characters below U+0300 (NFC), of ASCII (the others), are what they are in the form, and nothing composes with what
  // stands before them. So only stretches that hold others are taken apart, from the character before them on.
  const bool nfc = form == UnicodeForm::nfc;
  const auto plain = [&](std::size_t at) {
    const auto byte = static_cast<unsigned char>(text[at]);
    return nfc ? byte < 0xCC : byte < 0x80;  // 0xCC begins U+0300
  };
  std::string out;
  out.reserve(text.size());
  std::vector<utf8proc_int32_t> codes;
  std::size_t begin = 0;
  while (begin < text.size()) {
    std::size_t end = begin, last = begin;  // plain characters [begin, end), the last of them at `last`
    while (end < text.size() && plain(end)) {
      last = end;
      end += utf8_length(text[end]);
    }
    if (end == text.size()) return out.append(text.substr(begin));
    out.append(text.substr(begin, last - begin));
    std::size_t stop = end;
    while (stop < text.size() && !plain(stop)) stop += utf8_length(text[stop]);
    append_normalized(out, text.substr(last, stop - last), form, codes);
    begin = stop;
  }
  return out;
}

std::unique_ptr<Normalizer> make_unicode_normalizer(UnicodeForm form) {
  return std::make_unique<UnicodeNormalizer>(form);
}
std::unique_ptr<Normalizer> make_prepend_normalizer(std::string prefix) {
  return std::make_unique<PrependNormalizer>(std::move(prefix));
}
std::unique_ptr<Normalizer> make_replace_normalizer(std::string pattern, std::string content) {
  return std::make_unique<ReplaceString>(std::move(pattern), std::move(content));
}
std::unique_ptr<Normalizer> make_replace_normalizer(Regex pattern, std::string content) {
  return std::make_unique<ReplaceRegex>(std::move(pattern), std::move(content));
}
std::unique_ptr<Normalizer> make_strip_normalizer(bool left, bool right) {
  return std::make_unique<StripNormalizer>(left, right);
}

}  // namespace rl::model
