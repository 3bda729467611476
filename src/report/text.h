#pragma once
// Text from a record, made safe for the place it goes to, and measured in terminal columns.

#include <string>
#include <string_view>
#include <vector>

namespace rl::report {

// One line of valid UTF-8 without anything that acts instead of showing: control characters and line breaks become
// spaces, invalid bytes, terminal escapes and bidirectional overrides become U+FFFD.
std::string printable(std::string_view text);

// The same line by line, without empty lines at the end.
std::vector<std::string> printable_lines(std::string_view text);

// Columns a terminal gives to printable text: East Asian wide and emoji take two, combining marks none.
int display_width(std::string_view text);
// At most `width` columns; cut text ends in "…". Never cuts inside a grapheme cluster.
std::string truncate(std::string_view text, int width);
// Truncated, then filled with spaces to exactly `width` columns.
std::string pad(std::string_view text, int width);
std::string pad_left(std::string_view text, int width);
// Words in lines of at most `width` columns; a word that is too long is broken between grapheme clusters.
std::vector<std::string> wrap(std::string_view text, int width);

std::string escape_html(std::string_view text);      // for text and for quoted attributes
std::string escape_markdown(std::string_view text);  // also inside a table cell
std::string escape_csv(std::string_view text);       // RFC 4180; the text itself is kept as it is

// A name for an anchor: letters, digits and '-'.
std::string slug(std::string_view text);

}  // namespace rl::report
