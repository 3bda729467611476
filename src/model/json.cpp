#include "model/json.h"

#include <charconv>

#include "model/json_tree.h"

namespace rl::model::json {

std::string printable(std::string_view text, std::size_t limit) {
  std::string out;
  for (const char* p = text.data(); p != text.data() + text.size();) {
    const int length = utf8_length(p, text.data() + text.size());
    if (out.size() + static_cast<std::size_t>(std::max(length, 4)) > limit) return out + "...";
    const auto byte = static_cast<unsigned char>(*p);
    if (length == 0 || byte < 0x20 || byte == 0x7F) {
      out += fmt::format("\\x{:02x}", byte);
      ++p;
    } else {
      out.append(p, static_cast<std::size_t>(length));
      p += length;
    }
  }
  return out;
}

void append_key(std::string& path, std::string_view key) {
  if (!path.empty()) path += '.';
  path += printable(key, 200);
}

std::string_view name_of(Type type) {
  switch (type) {
    case Type::null:
      return "null";
    case Type::boolean:
      return "true or false";
    case Type::number:
      return "a number";
    case Type::string:
      return "a string";
    case Type::array:
      return "an array";
    case Type::object:
      return "an object";
  }
  return "?";
}

Result<Document> Document::parse(const FileView& file, const Limits& limits) {
  std::string text(file.bytes().size(), '\0');
  RL_TRY(file.read(0, std::as_writable_bytes(std::span(text))));
  return parse(file.name(), std::move(text), 0, limits);
}

Result<Document> Document::parse(std::string file_name, std::string text, std::int64_t base, const Limits& limits) {
  // Offsets in the tree are 32 bits wide.
  const std::int64_t most = std::min(limits.bytes, std::int64_t{UINT32_MAX} - 1);
  if (static_cast<std::int64_t>(text.size()) > most)
    return Error{.kind = ErrorKind::invalid_input,
                 .what = "JSON text too long",
                 .rule = "json.size",
                 .file = std::move(file_name),
                 .offset = base,
                 .expected = fmt::format("at most {} bytes", most),
                 .found = fmt::format("{} bytes", text.size())};
  auto tree = std::make_shared<Tree>();
  tree->file = std::move(file_name);
  tree->text = std::move(text);
  tree->base = base;
  RL_TRY(parse_tree(*tree, limits));
  return Document(std::move(tree));
}

Value Document::root() const { return {tree_.get(), 0}; }
const std::string& Document::text() const { return tree_->text; }

Type Value::type() const { return tree_->nodes[node_].type; }
std::int64_t Value::offset() const { return tree_->base + tree_->nodes[node_].offset; }

std::string Value::path() const {
  std::string path;
  std::uint32_t at = 0;
  while (at != node_) {
    const bool keyed = tree_->nodes[at].type == Type::object;
    std::uint32_t child = at + 1, index = 0;
    const auto value_of = [&](std::uint32_t n) { return keyed ? n + 1 : n; };
    while (tree_->nodes[value_of(child)].next <= node_) child = tree_->nodes[value_of(child)].next, ++index;
    if (keyed)
      append_key(path, tree_->string(child));
    else
      path += fmt::format("[{}]", index);
    at = value_of(child);
    if (at > node_) break;  // the key itself
  }
  return path;
}

std::string_view Value::text() const {
  const Node& node = tree_->nodes[node_];
  if (node.type == Type::string) return tree_->string(node_);
  if (node.type == Type::array || node.type == Type::object) return {};
  return std::string_view(tree_->text).substr(node.offset, node.size);
}

Status Value::expect(Type wanted) const {
  if (is(wanted)) return ok();
  return invalid("json.type", "value of the wrong type", std::string(name_of(wanted)));
}

Result<bool> Value::boolean() const {
  RL_TRY(expect(Type::boolean));
  return tree_->nodes[node_].truth;
}

Result<std::int64_t> Value::integer(std::int64_t min, std::int64_t max) const {
  RL_TRY(expect(Type::number));
  const std::string_view digits = text();
  if (digits == "-0" || digits.find_first_of(".eE") != std::string_view::npos)
    return invalid("json.integer", "not an integer", "an integer");
  std::int64_t value = 0;
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (result.ec != std::errc() || value < min || value > max)
    return invalid("json.range", "number out of range", fmt::format("an integer from {} to {}", min, max));
  return value;
}

Result<double> Value::number() const {
  RL_TRY(expect(Type::number));
  double value = 0;
  const std::string_view digits = text();
  std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return value;
}

Result<std::string_view> Value::string() const {
  RL_TRY(expect(Type::string));
  return tree_->string(node_);
}

std::int64_t Value::size() const { return is(Type::object) || is(Type::array) ? tree_->nodes[node_].size : 0; }

Value::Range Value::items() const {
  const Node& node = tree_->nodes[node_];
  return {tree_, node_ + 1, size() > 0 ? node.next : node_ + 1, node.type == Type::object};
}
Value::Iterator Value::Range::begin() const { return {tree, first, keyed}; }
Value::Iterator Value::Range::end() const { return {tree, last, keyed}; }

Item Value::Iterator::operator*() const {
  if (!keyed_) return {{}, Value(tree_, node_)};
  return {tree_->string(node_), Value(tree_, node_ + 1)};
}
Value::Iterator& Value::Iterator::operator++() {
  node_ = tree_->nodes[keyed_ ? node_ + 1 : node_].next;
  return *this;
}

std::optional<Value> Value::find(std::string_view key) const {
  if (!is(Type::object)) return std::nullopt;
  for (const auto [name, value] : items())
    if (name == key) return value;
  return std::nullopt;
}

std::optional<Value> Value::get(std::string_view key) const {
  auto value = find(key);
  return value && value->is_null() ? std::nullopt : value;
}

Result<Value> Value::at(std::string_view key) const {
  RL_TRY(expect(Type::object));
  if (const auto value = find(key)) return *value;
  Error missing = invalid("json.missing", fmt::format("missing field '{}'", key), "the field");
  append_key(missing.field, key);
  missing.found = "nothing";
  return missing;
}

Error Value::error(ErrorKind kind, std::string_view rule, std::string what, std::string expected,
                   std::string hint) const {
  std::string found;
  switch (type()) {
    case Type::string:
      found = fmt::format("\"{}\"", printable(text()));
      break;
    case Type::array:
      found = fmt::format("an array of {}", size());
      break;
    case Type::object:
      found = "an object";
      break;
    default:
      found = printable(text());
  }
  return {.kind = kind,
          .what = std::move(what),
          .rule = std::string(rule),
          .file = tree_->file,
          .field = path(),
          .offset = offset(),
          .expected = std::move(expected),
          .found = std::move(found),
          .hint = std::move(hint)};
}

Error Value::invalid(std::string_view rule, std::string what, std::string expected) const {
  return error(ErrorKind::invalid_input, rule, std::move(what), std::move(expected));
}

Error Value::unsupported(std::string_view rule, std::string what, std::string hint) const {
  return error(ErrorKind::unsupported, rule, std::move(what), {}, std::move(hint));
}

}  // namespace rl::model::json
