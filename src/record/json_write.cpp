#include <cmath>

#include <nlohmann/json.hpp>

#include "record/fields.h"
#include "record/json.h"

namespace rl::record {
namespace {

using Json = nlohmann::ordered_json;

// Declared before use: templates find nothing of an unnamed namespace later on.
Json value_of(const std::string& value);
Json value_of(bool value);
Json value_of(int value);
Json value_of(std::int64_t value);
Json value_of(std::uint64_t value);
Json value_of(double value);
Json value_of(const std::vector<std::pair<std::string, std::string>>& pairs);
template <class T>
Json value_of(const std::optional<T>& value);
template <class T>
Json value_of(const std::vector<T>& values);
template <class T>
Json value_of(const T& value);

struct Writer {
  Json object = Json::object();
  template <class T>
  void operator()(const char* key, const T& member) {
    object[key] = value_of(member);
  }
  template <class T>
  void rare(const char* key, const T& member) {
    if (member != T{}) (*this)(key, member);
  }
};

Json value_of(const std::string& value) { return value; }
Json value_of(bool value) { return value; }
Json value_of(int value) { return value; }
Json value_of(std::int64_t value) { return value; }
Json value_of(std::uint64_t value) { return value; }
Json value_of(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

template <class T>
Json value_of(const std::optional<T>& value) {
  return value ? value_of(*value) : Json(nullptr);
}

// Name and value pairs are an object: names do not repeat.
Json value_of(const std::vector<std::pair<std::string, std::string>>& pairs) {
  Json object = Json::object();
  for (const auto& [name, value] : pairs) object[name] = value;
  return object;
}

template <class T>
Json value_of(const std::vector<T>& values) {
  Json array = Json::array();
  for (const T& value : values) array.push_back(value_of(value));
  return array;
}

template <class T>
Json value_of(const T& value) {
  if constexpr (std::is_enum_v<T>) {
    return name_of(value);
  } else {
    Writer writer;
    fields(writer, const_cast<T&>(value));  // the list serves the reader too; Writer takes members as const
    return std::move(writer.object);
  }
}

// Text that is not UTF-8 (a command line can be anything) is replaced rather than refused.
std::string leaf(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

// Two spaces per level, but lists of plain values on one line: a metric has hundreds of samples.
void print(const Json& value, int depth, std::string& text) {
  const bool list_of_leaves = value.is_array() && (value.empty() || value.front().is_primitive());
  if (value.is_primitive() || value.empty() || list_of_leaves) {
    text += leaf(value);
    return;
  }
  const std::string indent(static_cast<std::size_t>(2 * depth + 2), ' ');
  text += value.is_object() ? "{\n" : "[\n";
  bool first = true;
  for (const auto& item : value.items()) {
    if (!first) text += ",\n";
    first = false;
    text += indent;
    if (value.is_object()) text += leaf(item.key()) + ": ";
    print(item.value(), depth + 1, text);
  }
  text += "\n" + indent.substr(2) + (value.is_object() ? "}" : "]");
}

std::string printed(const Json& value) {
  std::string text;
  print(value, 0, text);
  text += "\n";
  return text;
}

}  // namespace

std::string to_json(const Run& run) { return printed(value_of(run)); }
std::string to_json(const Experiment& experiment) { return printed(value_of(experiment)); }

}  // namespace rl::record
