#include "report/text.h"

#include <utf8proc.h>

namespace rl::report {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

struct Decoded {
  utf8proc_int32_t code = -1;  // -1: invalid
  std::size_t bytes = 1;
};

Decoded decode(std::string_view text) {
  utf8proc_int32_t code = -1;
  const utf8proc_ssize_t n = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                              static_cast<utf8proc_ssize_t>(text.size()), &code);
  if (n <= 0) return {};
  return {code, static_cast<std::size_t>(n)};
}

// U+202A..202E and U+2066..2069 reorder what follows them; U+200E, U+200F and U+061C steer that order.
bool reorders(utf8proc_int32_t c) {
  return (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069) || c == 0x200E || c == 0x200F || c == 0x061C;
}

struct Cluster {
  std::string_view text;
  int width = 0;
};

// Splits printable text at grapheme boundaries. A cluster's width is the sum over its code points, which is never less
// than what a terminal draws: those that join emoji show fewer columns, those that do not show all of them.
std::vector<Cluster> clusters(std::string_view text) {
  std::vector<Cluster> out;
  utf8proc_int32_t state = 0, previous = -1;
  std::size_t at = 0;
  while (at < text.size()) {
    Decoded now = decode(text.substr(at));
    if (now.code < 0) now.code = 0xFFFD;
    int width = std::max(0, utf8proc_charwidth(now.code));
    const bool breaks = previous < 0 || utf8proc_grapheme_break_stateful(previous, now.code, &state);
    if (breaks) {
      out.push_back({text.substr(at, 0), 0});
    } else if (now.code == 0xFE0F && out.back().width == 1) {
      width = 1;  // the emoji form of a narrow character takes two columns
    }
    Cluster& last = out.back();
    last.text = std::string_view(last.text.data(), last.text.size() + now.bytes);
    last.width += width;
    previous = now.code;
    at += now.bytes;
  }
  return out;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  std::size_t at = 0;
  while (at < text.size()) {
    const Decoded now = decode(text.substr(at));
    const std::string_view bytes = text.substr(at, now.bytes);
    at += now.bytes;
    if (now.code < 0 || reorders(now.code) || now.code == 0x1B) {
      out += kReplacement;
      continue;
    }
    switch (utf8proc_category(now.code)) {
      case UTF8PROC_CATEGORY_CC:
      case UTF8PROC_CATEGORY_ZL:
      case UTF8PROC_CATEGORY_ZP:
        out += ' ';
        break;
      case UTF8PROC_CATEGORY_CN:
      case UTF8PROC_CATEGORY_CS:
        out += kReplacement;
        break;
      default:
        out += bytes;
    }
  }
  return out;
}

std::vector<std::string> printable_lines(std::string_view text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(printable(text.substr(at, end - at)));
    at = end + 1;
  }
  while (!lines.empty() && lines.back().find_first_not_of(' ') == std::string::npos) lines.pop_back();
  return lines;
}

int display_width(std::string_view text) {
  int width = 0;
  for (const Cluster& cluster : clusters(text)) width += cluster.width;
  return width;
}

std::string truncate(std::string_view text, int width) {
  if (width <= 0) return {};
  const std::vector<Cluster> all = clusters(text);
  int total = 0;
  for (const Cluster& cluster : all) total += cluster.width;
  if (total <= width) return std::string(text);
  std::string out;
  int used = 0;
  for (const Cluster& cluster : all) {
    if (used + cluster.width > width - 1) break;
    out += cluster.text;
    used += cluster.width;
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out + "…";
}

std::string pad(std::string_view text, int width) {
  std::string out = truncate(text, width);
  out.append(static_cast<std::size_t>(std::max(0, width - display_width(out))), ' ');
  return out;
}

std::string pad_left(std::string_view text, int width) {
  const std::string cut = truncate(text, width);
  return std::string(static_cast<std::size_t>(std::max(0, width - display_width(cut))), ' ') + cut;
}

std::vector<std::string> wrap(std::string_view text, int width) {
  width = std::max(2, width);  // a wide character needs two
  std::vector<std::string> lines;
  std::string line, word;
  int line_width = 0, word_width = 0;
  const auto end_line = [&] {
    if (!line.empty()) lines.push_back(std::move(line));
    line.clear();
    line_width = 0;
  };
  const auto end_word = [&] {
    if (word.empty()) return;
    if (line_width > 0 && line_width + 1 + word_width > width) end_line();
    if (line_width > 0) line += ' ', ++line_width;
    line += word;
    line_width += word_width;
    word.clear();
    word_width = 0;
  };
  for (const Cluster& cluster : clusters(text)) {
    if (cluster.text == " ") {
      end_word();
      continue;
    }
    if (word_width + cluster.width > width) end_word();
    word += cluster.text;
    word_width += cluster.width;
  }
  end_word();
  end_line();
  return lines;
}

std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : printable(text)) switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  return out;
}

std::string escape_markdown(std::string_view text) {
  const std::string clean = printable(text);
  const auto word = [&](std::size_t i) {
    return i < clean.size() && (std::isalnum(static_cast<unsigned char>(clean[i])) || (clean[i] & 0x80) != 0);
  };
  std::string out;
  for (std::size_t i = 0; i < clean.size(); ++i) {
    const char c = clean[i];
    if (c == '<') {
      out += "&lt;";
    } else if (c == '&') {
      out += "&amp;";
    } else {
      // '_' inside a word and '-' or '+' after text mean nothing in Markdown: names and numbers stay readable.
      const bool inside_word = c == '_' && i > 0 && word(i - 1) && word(i + 1);
      const bool leading = (c == '-' || c == '+' || c == '#') && i == 0;
      if ((std::string_view("\\`*[]|~>").find(c) != std::string_view::npos) || (c == '_' && !inside_word) || leading)
        out += '\\';
      out += c;
    }
  }
  return out;
}

std::string escape_csv(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

std::string slug(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (plain)
      out += c;
    else if (!out.empty() && out.back() != '-')
      out += '-';
  }
  return out;
}

}  // namespace rl::report
