#include <cmath>
#include <limits>

#include <simdjson.h>

#include "record/fields.h"
#include "record/json.h"

namespace rl::record {
namespace {

using Element = simdjson::dom::element;
using Object = simdjson::dom::object;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Where a value stands, as a chain of frames: text is made of it for an error only.
struct Place {
  const Place* parent = nullptr;
  std::string_view key;
  std::int64_t index = -1;

  std::string text() const {
    std::string path = parent ? parent->text() : "";
    if (index >= 0) return path + fmt::format("[{}]", index);
    if (key.empty()) return path;
    return path.empty() ? std::string(key) : fmt::format("{}.{}", path, key);
  }
};

const char* type_name(Element element) {
  switch (element.type()) {
    case simdjson::dom::element_type::ARRAY:
      return "a list";
    case simdjson::dom::element_type::OBJECT:
      return "an object";
    case simdjson::dom::element_type::INT64:
    case simdjson::dom::element_type::UINT64:
      return "an integer";
    case simdjson::dom::element_type::DOUBLE:
      return "a number with a fraction";
    case simdjson::dom::element_type::STRING:
      return "a text";
    case simdjson::dom::element_type::BOOL:
      return "true or false";
    case simdjson::dom::element_type::NULL_VALUE:
      return "null";
  }
  return "";
}

Error refusal(const Place& place, std::string rule, std::string expected, std::string found) {
  return {.kind = ErrorKind::invalid_input,
          .what = "not a record of Redline",
          .rule = std::move(rule),
          .field = place.text(),
          .expected = std::move(expected),
          .found = std::move(found)};
}

Error wrong_type(const Place& place, const char* expected, Element found) {
  return refusal(place, "record.type", expected, type_name(found));
}

// Declared before use: templates find nothing of an unnamed namespace later on.
Status read(Element element, const Place& place, std::string& value);
Status read(Element element, const Place& place, bool& value);
Status read(Element element, const Place& place, int& value);
Status read(Element element, const Place& place, std::int64_t& value);
Status read(Element element, const Place& place, std::uint64_t& value);
Status read(Element element, const Place& place, double& value);
Status read(Element element, const Place& place, Interval& value);
Status read(Element element, const Place& place, std::vector<std::pair<std::string, std::string>>& pairs);
template <class T>
Status read(Element element, const Place& place, std::optional<T>& value);
template <class T>
Status read(Element element, const Place& place, std::vector<T>& values);
template <class T>
Status read(Element element, const Place& place, T& value);

// Reads the members of one object in the order of fields(); stops at the first error.
struct Reader {
  Object object;
  const Place& place;
  std::size_t seen = 0;
  std::vector<std::string_view> known;
  std::optional<Error> error;

  template <class T>
  void operator()(const char* key, T& member) {
    if (error) return;
    known.push_back(key);
    const Place here{.parent = &place, .key = key};
    Element element;
    if (object.at_key(key).get(element) != simdjson::SUCCESS) {
      error = refusal(here, "record.missing", "the field", "nothing");
      return;
    }
    if (Status status = read(element, here, member); !status) error = std::move(status).error();
  }
  template <class T>
  void rare(const char* key, T& member) {
    Element element;
    if (object.at_key(key).get(element) == simdjson::SUCCESS) (*this)(key, member);
  }

  Status finish() {
    if (error) return *std::move(error);
    if (object.size() == known.size()) return ok();
    for (const auto& field : object) {
      const auto at = std::find(known.begin(), known.end(), field.key);
      const Place here{.parent = &place, .key = field.key};
      if (at == known.end()) return refusal(here, "record.unknown", "no such field", type_name(field.value));
      known.erase(at);
    }
    return ok();
  }
};

Status read(Element element, const Place& place, std::string& value) {
  std::string_view text;
  if (element.get(text) != simdjson::SUCCESS) return wrong_type(place, "a text", element);
  value = text;
  return ok();
}

Status read(Element element, const Place& place, bool& value) {
  if (element.get(value) != simdjson::SUCCESS) return wrong_type(place, "true or false", element);
  return ok();
}

Status read(Element element, const Place& place, std::int64_t& value) {
  if (element.get(value) != simdjson::SUCCESS) return wrong_type(place, "an integer of 64 bits", element);
  return ok();
}

Status read(Element element, const Place& place, std::uint64_t& value) {
  if (element.get(value) != simdjson::SUCCESS) return wrong_type(place, "an integer from 0 to 2^64-1", element);
  return ok();
}

Status read(Element element, const Place& place, int& value) {
  std::int64_t wide = 0;
  RL_TRY(read(element, place, wide));
  if (wide < std::numeric_limits<int>::min() || wide > std::numeric_limits<int>::max())
    return refusal(place, "record.range", "an integer of 32 bits", fmt::format("{}", wide));
  value = static_cast<int>(wide);
  return ok();
}

Status read(Element element, const Place& place, double& value) {
  value = std::numeric_limits<double>::quiet_NaN();
  if (element.is_null()) return ok();
  if (!element.is_number()) return wrong_type(place, "a number or null", element);
  value = element.get_double().value_unsafe();
  return ok();
}

Status read(Element element, const Place& place, Interval& value) {
  RL_TRY(read<Interval>(element, place, value));
  if (std::isnan(value.low)) value.low = -kInfinity;
  if (std::isnan(value.high)) value.high = kInfinity;
  return ok();
}

template <class T>
Status read(Element element, const Place& place, std::optional<T>& value) {
  if (element.is_null()) return value.reset(), ok();
  return read(element, place, value.emplace());
}

Status read(Element element, const Place& place, std::vector<std::pair<std::string, std::string>>& pairs) {
  Object object;
  if (element.get(object) != simdjson::SUCCESS) return wrong_type(place, "an object of texts", element);
  for (const auto& field : object) {
    const Place here{.parent = &place, .key = field.key};
    for (const auto& [name, ignored] : pairs)
      if (name == field.key) return refusal(here, "record.duplicate", "each name once", "it again");
    std::string text;
    RL_TRY(read(field.value, here, text));
    pairs.emplace_back(field.key, std::move(text));
  }
  return ok();
}

template <class T>
Status read(Element element, const Place& place, std::vector<T>& values) {
  simdjson::dom::array array;
  if (element.get(array) != simdjson::SUCCESS) return wrong_type(place, "a list", element);
  std::int64_t index = 0;
  for (const Element item : array) {
    const Place here{.parent = &place, .index = index++};
    RL_TRY(read(item, here, values.emplace_back()));
  }
  return ok();
}

template <class T>
Status read_word(Element element, const Place& place, T& value) {
  std::string word, words;
  RL_TRY(read(element, place, word));
  for (int i = 0;; ++i) {
    const std::string_view name = name_of(static_cast<T>(i));  // "" behind the last
    if (name.empty()) break;
    if (name == word) return value = static_cast<T>(i), ok();
    words += fmt::format("{}'{}'", words.empty() ? "" : ", ", name);
  }
  return refusal(place, "record.word", fmt::format("one of {}", words), fmt::format("'{}'", word));
}

template <class T>
Status read(Element element, const Place& place, T& value) {
  if constexpr (std::is_enum_v<T>) {
    return read_word(element, place, value);
  } else {
    Object object;
    if (element.get(object) != simdjson::SUCCESS) return wrong_type(place, "an object", element);
    Reader reader{.object = object, .place = place};
    fields(reader, value);
    return reader.finish();
  }
}

Status check_schema(Element element, const Place& place) {
  Object object;
  if (element.get(object) != simdjson::SUCCESS) return wrong_type(place, "an object", element);
  Element version;
  const Place here{.parent = &place, .key = "schema_version"};
  if (object.at_key("schema_version").get(version) != simdjson::SUCCESS)
    return refusal(here, "record.missing", "the field", "nothing");
  std::int64_t found = 0;
  RL_TRY(read(version, here, found));
  if (found == kSchemaVersion) return ok();
  return Error{.kind = ErrorKind::unsupported,
               .what = "a record of another version",
               .rule = "record.schema_version",
               .field = "schema_version",
               .expected = fmt::format("{}", kSchemaVersion),
               .found = fmt::format("{}", found),
               .hint = found > kSchemaVersion ? "read it with the newer Redline that wrote it"
                                              : "read it with the older Redline that wrote it, or make the run anew"};
}

template <class T>
Result<T> parsed(std::string_view json, std::string_view file_name, bool has_schema) {
  auto in_file = [&](Error error) {
    error.file = file_name;
    return error;
  };
  simdjson::dom::parser parser;
  Element root;
  // Copies the text: simdjson reads some bytes behind its end.
  if (const auto code = parser.parse(json.data(), json.size(), true).get(root); code != simdjson::SUCCESS)
    return in_file({.kind = ErrorKind::invalid_input,
                    .what = "not JSON",
                    .rule = "record.json",
                    .found = simdjson::error_message(code)});
  const Place top;
  if (has_schema)
    if (Status status = check_schema(root, top); !status) return in_file(std::move(status).error());
  T value;
  if (Status status = read(root, top, value); !status) return in_file(std::move(status).error());
  return value;
}

}  // namespace

Result<Run> from_json(std::string_view json, std::string_view file_name) { return parsed<Run>(json, file_name, true); }

Result<Experiment> experiment_from_json(std::string_view json, std::string_view file_name) {
  return parsed<Experiment>(json, file_name, false);
}

}  // namespace rl::record
