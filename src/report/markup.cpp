#include "report/markup.h"

#include "base/result.h"
#include "report/text.h"

namespace rl::report {

void Markup::begin(std::string_view tag, Attributes attributes) {
  out_ += '<';
  out_ += tag;
  for (const auto& [name, value] : attributes) out_ += fmt::format(" {}=\"{}\"", name, escape_html(value));
}

Markup& Markup::open(std::string_view tag, Attributes attributes) {
  begin(tag, attributes);
  out_ += '>';
  tags_.emplace_back(tag);
  return *this;
}

Markup& Markup::close(std::string_view tag) {
  RL_CHECK_MSG(!tags_.empty() && tags_.back() == tag, tag);
  tags_.pop_back();
  out_ += fmt::format("</{}>", tag);
  return *this;
}

Markup& Markup::empty(std::string_view tag, Attributes attributes) {
  begin(tag, attributes);
  out_ += "/>";
  return *this;
}

Markup& Markup::text(std::string_view text) {
  out_ += escape_html(text);
  return *this;
}

Markup& Markup::prose(std::string_view text) {
  while (!text.empty()) {
    const std::size_t begin = text.find('`');
    const std::size_t end = begin == std::string_view::npos ? begin : text.find('`', begin + 1);
    if (end == std::string_view::npos) return this->text(text);
    this->text(text.substr(0, begin)).leaf("code", text.substr(begin + 1, end - begin - 1));
    text.remove_prefix(end + 1);
  }
  return *this;
}

Markup& Markup::leaf(std::string_view tag, std::string_view text, Attributes attributes) {
  return open(tag, attributes).text(text).close(tag);
}

Markup& Markup::trusted(std::string_view bytes) {
  out_ += bytes;
  return *this;
}

std::string Markup::take() {
  RL_CHECK_MSG(tags_.empty(), tags_.empty() ? "" : tags_.back());
  return std::move(out_);
}

}  // namespace rl::report
