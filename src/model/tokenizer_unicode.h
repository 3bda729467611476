#pragma once
// UTF-8 and the two character classes that tokenizer rules speak of.

#include <cstddef>
#include <string>
#include <string_view>

namespace rl::model {

// What a byte string begins with. An invalid part is maximal in the sense of the Unicode standard (section 3.9, "U+FFFD
// substitution of maximal subparts"), which is also what Rust's from_utf8_lossy replaces by one U+FFFD.
struct Utf8Step {
  enum class Kind { valid, invalid, incomplete } kind = Kind::valid;  // incomplete: `bytes` end inside a sequence
  std::size_t bytes = 0;                                              // length of the sequence or of the part
};
Utf8Step utf8_step(std::string_view bytes);  // bytes: not empty

// Offset of the first byte that is not UTF-8; npos if all of it is.
std::size_t find_invalid_utf8(std::string_view bytes);

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

// The code point at `at` of valid UTF-8, and the step to the next one.
char32_t code_point(std::string_view text, std::size_t at, std::size_t& bytes);
inline std::size_t utf8_length(char first_byte) {
  const auto byte = static_cast<unsigned char>(first_byte);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}
void append_utf8(std::string& out, char32_t code);

// Property White_Space of Unicode; unchanged since version 6.3. U+180E is not in it.
bool is_white_space(char32_t code);
// Bytes of white space at the end of text, at the beginning of text.
std::size_t white_space_at_end(std::string_view text);
std::size_t white_space_at_start(std::string_view text);

}  // namespace rl::model
