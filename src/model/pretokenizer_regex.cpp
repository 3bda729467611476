#include "model/pretokenizer_regex.h"

#include <algorithm>

#include <fmt/core.h>

#include "model/tokenizer_unicode.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace rl::model {
namespace {

// Steps that one search may take: PCRE2's default, and enough for a pattern that walks the text a few dozen times. The
// blanks of `\s*[\r\n]+` cost one step each.
std::uint32_t step_limit(std::size_t bytes) {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(10'000'000 + std::uint64_t{64} * bytes, 0xFFFFFFFF));
}

// The machine stack serves 32 KiB of backtracking. Patterns that repeat a group need more: a stack of their own, of
// which only the part in use costs memory.
constexpr std::size_t kJitStackStart = std::size_t{1} << 20, kJitStackLimit = std::size_t{256} << 20;

std::string message_of(int code) {
  char text[256] = {};
  pcre2_get_error_message(code, reinterpret_cast<PCRE2_UCHAR*>(text), sizeof text);
  return text;
}

}  // namespace

void Regex::Free::operator()(pcre2_real_code_8* p) const { pcre2_code_free(p); }
void Regex::Finder::Free::operator()(pcre2_real_match_data_8* p) const { pcre2_match_data_free(p); }
void Regex::Finder::Free::operator()(pcre2_real_match_context_8* p) const { pcre2_match_context_free(p); }
void Regex::Finder::Free::operator()(pcre2_real_jit_stack_8* p) const { pcre2_jit_stack_free(p); }

Result<Regex> Regex::compile(std::string_view pattern) {
  if (pattern.size() > kMaxRegexBytes)
    return Error{.kind = ErrorKind::invalid_input,
                 .what = "the regular expression is too long",
                 .rule = "tokenizer.regex_length",
                 .expected = fmt::format("at most {} bytes", kMaxRegexBytes),
                 .found = fmt::format("{} bytes", pattern.size())};
  RL_ASSIGN(const std::string rewritten, oniguruma_to_pcre2(pattern));
  int code = 0;
  PCRE2_SIZE at = 0;
  Regex regex;
  const std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), &pcre2_compile_context_free);
  if (context) {
    pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
    pcre2_set_parens_nest_limit(context.get(), 64);
  }
  // PCRE2_MULTILINE: ^ and $ are always those of a line in Ruby syntax.
  regex.code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(rewritten.data()), rewritten.size(),
                                  PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &code, &at, context.get()));
  if (!regex.code_)
    return Error{.kind = ErrorKind::invalid_input,
                 .what = fmt::format("not a valid regular expression: {}", message_of(code)),
                 .rule = "tokenizer.regex",
                 .expected = "a pattern that PCRE2 compiles",
                 .found = fmt::format("{} (read as {}; position {} there)", pattern.substr(0, 120),
                                      std::string_view(rewritten).substr(0, 120), at)};
  regex.jit_ = pcre2_jit_compile(regex.code_.get(), PCRE2_JIT_COMPLETE) == 0;  // without it the interpreter serves
  return regex;
}

Regex::Finder::Finder(const Regex& regex)
    : regex_(&regex),
      data_(pcre2_match_data_create(1, nullptr)),
      context_(pcre2_match_context_create(nullptr)),
      jit_(regex.jit_) {
  RL_CHECK_MSG(data_ && context_, "out of memory");
}

void Regex::Finder::start(std::string_view text) {
  text_ = text;
  at_ = 0;
  last_end_ = std::string_view::npos;
  pcre2_set_match_limit(context_.get(), step_limit(text.size()));
}

int Regex::Finder::search(std::size_t from) {
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text_.data());
  const pcre2_code* code = regex_->code_.get();
  if (jit_) {
    int found = pcre2_jit_match(code, subject, text_.size(), from, 0, data_.get(), context_.get());
    if (found != PCRE2_ERROR_JIT_STACKLIMIT) return found;
    if (!stack_) {
      stack_.reset(pcre2_jit_stack_create(kJitStackStart, kJitStackLimit, nullptr));
      pcre2_jit_stack_assign(context_.get(), nullptr, stack_.get());
      found = pcre2_jit_match(code, subject, text_.size(), from, 0, data_.get(), context_.get());
      if (found != PCRE2_ERROR_JIT_STACKLIMIT) return found;
    }
  }
  return pcre2_match(code, subject, text_.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data_.get(), context_.get());
}

Result<bool> Regex::Finder::next(Match& match) {
  while (at_ <= text_.size()) {
    const int found = search(at_);
    if (found == PCRE2_ERROR_NOMATCH) return false;
    if (found < 0)
      return Error{.kind = ErrorKind::unsupported,
                   .what = "the tokenizer's regular expression needs too many steps for this text",
                   .rule = "tokenizer.regex_steps",
                   .offset = static_cast<std::int64_t>(at_),
                   .expected = fmt::format("at most {} steps in one search", step_limit(text_.size())),
                   .found = message_of(found)};
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data_.get());
    match = {.begin = bounds[0], .end = bounds[1]};
    // As the library's engine: an empty match right after the last match does not count.
    if (match.begin == match.end && match.end == last_end_) {
      at_ += at_ < text_.size() ? utf8_length(text_[at_]) : 1;
      continue;
    }
    at_ = last_end_ = match.end;
    return true;
  }
  return false;
}

}  // namespace rl::model
