#pragma once
// Regular expressions of tokenizer.json, run by PCRE2.
//
// The files are written for Oniguruma (Ruby syntax), the engine of the `tokenizers` library. The two dialects agree on
// the patterns of the model families but for a few constructs: those are rewritten, or refused by name where PCRE2 has
// no equal (docs of both: doc/RE of Oniguruma 6.9, pcre2pattern(3) of 10.42).

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;
struct pcre2_real_match_context_8;
struct pcre2_real_jit_stack_8;

namespace rl::model {

inline constexpr std::size_t kMaxRegexBytes = 4096;

// The word characters of Rust's `regex`, which the library uses for its own rules, for use inside [...]. They are not
// those of Oniguruma's \w.
inline constexpr std::string_view kRustWordCharacters = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200C}\\x{200D}";

// The pattern in PCRE2's dialect. Errors: unsupported (rule tokenizer.regex_syntax) with the construct's name; offset
// is the byte in the pattern.
Result<std::string> oniguruma_to_pcre2(std::string_view pattern);

class Regex {
 public:
  // Errors: invalid_input, rule tokenizer.regex (not a pattern; offset: byte in the pattern) or tokenizer.regex_length;
  // unsupported, rule tokenizer.regex_syntax.
  static Result<Regex> compile(std::string_view pattern);

  struct Match {
    std::size_t begin = 0, end = 0;
  };

  // Finds matches from left to right; one object per thread. The text must be valid UTF-8 and outlive the searches.
  class Finder {
   public:
    explicit Finder(const Regex& regex);
    void start(std::string_view text);
    // False: no more matches. Errors: unsupported (rule tokenizer.regex_steps) if the pattern needs more steps than a
    // bound that is linear in the text.
    Result<bool> next(Match& match);

   private:
    int search(std::size_t from);

    struct Free {
      void operator()(pcre2_real_match_data_8* p) const;
      void operator()(pcre2_real_match_context_8* p) const;
      void operator()(pcre2_real_jit_stack_8* p) const;
    };
    const Regex* regex_;
    std::unique_ptr<pcre2_real_match_data_8, Free> data_;
    std::unique_ptr<pcre2_real_match_context_8, Free> context_;
    std::unique_ptr<pcre2_real_jit_stack_8, Free> stack_;
    std::string_view text_;
    std::size_t at_ = 0;
    std::size_t last_end_ = std::string_view::npos;
    bool jit_ = false;
  };

 private:
  struct Free {
    void operator()(pcre2_real_code_8* p) const;
  };
  std::unique_ptr<pcre2_real_code_8, Free> code_;
  bool jit_ = false;
};

}  // namespace rl::model
