#pragma once
// Normalisers of tokenizer.json: what is done to a text before added tokens of the normalised kind are looked for.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/pretokenizer_regex.h"

namespace rl::model {

// A text under way. at_start: its first byte comes from the first byte of the whole input (Metaspace asks for it).
struct NormalizedText {
  std::string text;
  bool at_start = false;
  std::size_t limit = std::string::npos;  // a normaliser that makes the text longer than this stops with an error
};

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  // Errors: unsupported, rules tokenizer.regex_steps and tokenizer.text_growth.
  virtual Status apply(NormalizedText& text) const = 0;
};

enum class UnicodeForm { nfc, nfd, nfkc, nfkd };

std::unique_ptr<Normalizer> make_unicode_normalizer(UnicodeForm form);
// Puts `prefix` before a text that is not empty.
std::unique_ptr<Normalizer> make_prepend_normalizer(std::string prefix);
std::unique_ptr<Normalizer> make_replace_normalizer(std::string pattern, std::string content);  // pattern: not empty
std::unique_ptr<Normalizer> make_replace_normalizer(Regex pattern, std::string content);
std::unique_ptr<Normalizer> make_strip_normalizer(bool left, bool right);

// The normalisation form of a text, in time linear in it. Unicode version: utf8proc's.
std::string to_unicode_form(std::string_view text, UnicodeForm form);

}  // namespace rl::model
