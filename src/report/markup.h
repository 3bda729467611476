#pragma once
// Writes HTML and SVG so that it is well-formed and escaped by construction: tags are closed in order, and text and
// attribute values are escaped on the way in. Only trusted() takes markup.

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rl::report {

class Markup {
 public:
  using Attributes = std::initializer_list<std::pair<std::string_view, std::string_view>>;

  Markup& open(std::string_view tag, Attributes attributes = {});
  Markup& close(std::string_view tag);                              // a bug unless it is the innermost open one
  Markup& empty(std::string_view tag, Attributes attributes = {});  // <tag ... />
  Markup& text(std::string_view text);
  // Text in which `this` is set as code.
  Markup& prose(std::string_view text);
  Markup& leaf(std::string_view tag, std::string_view text, Attributes attributes = {});
  // Bytes that are already markup, a style sheet or a script of ours.
  Markup& trusted(std::string_view bytes);
  std::string take();  // a bug if a tag is open

 private:
  void begin(std::string_view tag, Attributes attributes);
  std::string out_;
  std::vector<std::string> tags_;
};

}  // namespace rl::report
