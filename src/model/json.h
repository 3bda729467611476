#pragma once
// A strict reader for the JSON files of a model: config.json, tokenizer.json, an index, a safetensors header. It
// accepts RFC 8259 and nothing else: no byte order mark, comment, trailing comma, NaN or Infinity; invalid UTF-8,
// unpaired surrogates, duplicate keys, too deep nesting and numbers beyond a double's range are refused. Every error
// names the rule, the file, the field's path and the byte offset.
//
// Why not simdjson: it tells neither where a value stands nor that a key occurs twice, and it needs a padded copy;
// checks of that kind would walk the text once more. This reader makes one pass (10 MB in about 50 ms) and never
// recurses.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/result.h"

namespace rl::model::json {

enum class Type : std::uint8_t { null, boolean, number, string, array, object };
std::string_view name_of(Type type);

struct Tree;

// One value of a document: a cheap handle, valid as long as the Document it comes from (moved or not).
class Value {
 public:
  Type type() const;
  bool is(Type type) const { return this->type() == type; }
  bool is_null() const { return is(Type::null); }
  std::int64_t offset() const;    // of its first byte, in the file
  std::string path() const;       // "rope_parameters.factor", "layer_types[2]"; "" for the root
  std::string_view text() const;  // a number or literal as the file spells it, a string decoded, "" for containers

  // The value as a type. Errors: json.type if it is of another; json.integer if a number is not written as an integer
  // ("1.5", "1e3", "-0") ; json.range if it does not fit or lies outside [min, max].
  Result<bool> boolean() const;
  Result<std::int64_t> integer(std::int64_t min = INT64_MIN, std::int64_t max = INT64_MAX) const;
  Result<double> number() const;            // correctly rounded
  Result<std::string_view> string() const;  // decoded UTF-8; may hold NUL if the file says \u0000

  // Members of an object or elements of an array, in the file's order; none for other types.
  std::int64_t size() const;
  class Iterator;
  struct Range {
    const Tree* tree;
    std::uint32_t first, last;
    bool keyed;
    Iterator begin() const;
    Iterator end() const;
  };
  Range items() const;
  // Member by key, null values included: nullopt if absent or not an object. Linear in the number of members.
  std::optional<Value> find(std::string_view key) const;
  // As find, but a null value counts as absent, as it does for optional fields of config.json.
  std::optional<Value> get(std::string_view key) const;
  // Errors: json.missing; json.type if this is not an object.
  Result<Value> at(std::string_view key) const;
  // Errors: json.type.
  Status expect(Type type) const;

  // An error about this value: its file, path, offset and spelling filled in.
  Error error(ErrorKind kind, std::string_view rule, std::string what, std::string expected = {},
              std::string hint = {}) const;
  Error invalid(std::string_view rule, std::string what, std::string expected = {}) const;
  Error unsupported(std::string_view rule, std::string what, std::string hint = {}) const;

 private:
  friend class Document;
  friend class Iterator;
  friend struct Range;
  Value(const Tree* tree, std::uint32_t node) : tree_(tree), node_(node) {}
  const Tree* tree_;
  std::uint32_t node_;
};

// for (auto [key, value] : object.items()): an array's elements have empty keys.
struct Item {
  std::string_view key;
  Value value;
};

class Value::Iterator {
 public:
  Iterator(const Tree* tree, std::uint32_t node, bool keyed) : tree_(tree), node_(node), keyed_(keyed) {}
  Item operator*() const;
  Iterator& operator++();
  bool operator==(const Iterator& other) const { return node_ == other.node_; }
  bool operator!=(const Iterator& other) const { return node_ != other.node_; }

 private:
  const Tree* tree_;
  std::uint32_t node_;
  bool keyed_;
};

struct Limits {
  int depth = 64;
  std::int64_t bytes = std::int64_t{256} << 20;
};

// A parsed text. Holds its own copy, so that a file that changes meanwhile does no harm.
class Document {
 public:
  // Errors: json.empty, json.size, json.bom, json.syntax, json.trailing, json.depth, json.number, json.string,
  // json.escape, json.surrogate, json.utf8, json.duplicate_key; io if the bytes cannot be read.
  static Result<Document> parse(const FileView& file, const Limits& limits = {});
  // A text inside a file that begins at byte `base`: offsets in errors are the file's.
  static Result<Document> parse(std::string file_name, std::string text, std::int64_t base, const Limits& limits = {});

  Value root() const;
  const std::string& text() const;  // the whole text

 private:
  explicit Document(std::shared_ptr<const Tree> tree) : tree_(std::move(tree)) {}
  std::shared_ptr<const Tree> tree_;
};

// `text` for a message: at most `limit` bytes, control characters and cut sequences replaced.
std::string printable(std::string_view text, std::size_t limit = 60);

}  // namespace rl::model::json
