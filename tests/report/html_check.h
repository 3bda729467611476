#pragma once
// A small reader of HTML: enough to tell whether a page is well-formed and what is in it.

#include <cctype>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace rl::report {

struct Element {
  std::string tag;
  std::map<std::string, std::string> attributes;
};

struct Page {
  std::vector<Element> elements;     // in the order of their start tags
  std::vector<std::string> scripts;  // contents, those with data included
  std::string text;                  // what a reader sees, with entities as they stand; parts divided by line breaks
  std::vector<std::string> faults;   // what is not well-formed
};

// Strict: every tag closed in order, attributes quoted, '<' and '&' only as markup. Contents of script and style are
// raw.
inline Page read_page(std::string_view html) {
  Page page;
  std::vector<std::string> open;
  std::size_t at = 0;
  const auto fault = [&](const std::string& what) {
    page.faults.push_back(what + " at byte " + std::to_string(at) + ": " + std::string(html.substr(at, 60)));
  };
  if (!html.starts_with("<!DOCTYPE html>")) fault("no document type");
  at = html.find('>') + 1;
  while (at < html.size()) {
    if (html[at] != '<') {
      const std::size_t end = std::min(html.find('<', at), html.size());
      const std::string_view text = html.substr(at, end - at);
      for (std::size_t i = 0; i < text.size(); ++i)
        if (text[i] == '&' && text.substr(i, 12).find(';') == std::string_view::npos) fault("a bare ampersand");
      page.text += std::string(text) + "\n";
      at = end;
      continue;
    }
    const bool closing = at + 1 < html.size() && html[at + 1] == '/';
    std::size_t i = at + (closing ? 2 : 1);
    Element element;
    while (i < html.size() && std::isalnum(static_cast<unsigned char>(html[i]))) element.tag += html[i++];
    if (element.tag.empty()) fault("not a tag");
    while (i < html.size() && html[i] == ' ') {
      ++i;
      std::string name;
      while (i < html.size() && (std::isalnum(static_cast<unsigned char>(html[i])) || html[i] == '-'))
        name += html[i++];
      if (html.substr(i, 2) != "=\"") {
        fault("an attribute without a quoted value");
        return page;
      }
      const std::size_t end = html.find('"', i + 2);
      const std::string value(html.substr(i + 2, end - i - 2));
      if (value.find('<') != std::string::npos) fault("'<' in an attribute");
      if (!element.attributes.emplace(name, value).second) fault("an attribute twice");
      i = end + 1;
    }
    const bool empty = html.substr(i, 2) == "/>";
    if (empty) ++i;
    if (i >= html.size() || html[i] != '>') {
      fault("a tag that does not end");
      return page;
    }
    ++i;
    if (closing) {
      if (open.empty() || open.back() != element.tag)
        fault("closes out of order");
      else
        open.pop_back();
    } else {
      page.elements.push_back(element);
      if (element.tag == "wbr" && page.text.ends_with("\n")) page.text.pop_back();  // the text goes on
      if (element.tag == "script" || element.tag == "style") {
        const std::string end_tag = "</" + element.tag + ">";
        const std::size_t end = html.find(end_tag, i);
        if (end == std::string_view::npos) {
          fault("raw text that does not end");
          return page;
        }
        if (element.tag == "script") page.scripts.emplace_back(html.substr(i, end - i));
        i = end + end_tag.size();
      } else if (!empty) {
        open.push_back(element.tag);
      }
    }
    at = i;
  }
  if (!open.empty()) page.faults.push_back("never closed: " + open.back());
  return page;
}

}  // namespace rl::report
