#include "model/safetensors.h"

#include "base/checked.h"
#include "model/json.h"

namespace rl::model {
namespace {

using json::Type;
using json::Value;

// The format's own limits on the header and ours on the rank.
constexpr std::int64_t kMaxHeaderBytes = 100'000'000;
constexpr std::int64_t kMaxRank = 8;

struct StoredType {
  std::string_view name;
  int bits;
  std::optional<DType> dtype;
};
constexpr StoredType kTypes[] = {
    {"F64", 64, DType::f64},      {"F32", 32, DType::f32},        {"F16", 16, DType::f16},
    {"BF16", 16, DType::bf16},    {"F8_E4M3", 8, DType::f8_e4m3}, {"F8_E5M2", 8, DType::f8_e5m2},
    {"I64", 64, DType::i64},      {"I32", 32, DType::i32},        {"I8", 8, DType::i8},
    {"U8", 8, DType::u8},         {"U64", 64, std::nullopt},      {"U32", 32, std::nullopt},
    {"I16", 16, std::nullopt},    {"U16", 16, std::nullopt},      {"BOOL", 8, std::nullopt},
    {"C64", 64, std::nullopt},    {"F8_E8M0", 8, std::nullopt},   {"F6_E2M3", 6, std::nullopt},
    {"F6_E3M2", 6, std::nullopt}, {"F4", 4, std::nullopt},
};

struct Entry {
  std::string_view name;
  Value value;
  std::int64_t begin = 0, end = 0;  // in the data
};

// Gives an error of the JSON reader the rule that this field stands for.
Error under_rule(Error error, std::string_view rule) {
  error.rule = std::string(rule);
  return error;
}

Status check_metadata(const Value& metadata) {
  if (!metadata.is(Type::object))
    return metadata.invalid("safetensors.metadata", "__metadata__ is not an object", "an object");
  for (const auto [key, value] : metadata.items())
    if (!value.is(Type::string))
      return value.invalid("safetensors.metadata", "__metadata__ holds something else than text", "a string");
  return ok();
}

Result<std::vector<std::int64_t>> read_shape(const Value& shape) {
  if (!shape.is(Type::array)) return shape.invalid("safetensors.shape", "shape is not an array", "an array");
  if (shape.size() > kMaxRank)
    return shape.invalid("safetensors.rank", "too many dimensions", fmt::format("at most {}", kMaxRank));
  std::vector<std::int64_t> dims;
  for (const auto [key, value] : shape.items()) {
    auto dim = value.integer(0);
    if (!dim) return under_rule(std::move(dim).error(), "safetensors.shape");
    dims.push_back(*dim);
  }
  return dims;
}

Result<std::int64_t> byte_size(const Value& shape, const std::vector<std::int64_t>& dims, const StoredType& type) {
  const auto elements = checked_product(dims);
  const auto bits = elements ? checked_mul(*elements, type.bits) : std::nullopt;
  if (!bits) return shape.invalid("safetensors.overflow", "shape too large", "fewer than 2^63 bits");
  if (*bits % 8 != 0)
    return shape.invalid("safetensors.sub_byte", fmt::format("elements of {} bits do not fill whole bytes", type.bits),
                         "a multiple of 8 bits");
  return *bits / 8;
}

Status read_offsets(Entry& entry, const Value& offsets, std::int64_t data_bytes) {
  constexpr std::string_view kRule = "safetensors.offsets";
  if (!offsets.is(Type::array) || offsets.size() != 2)
    return offsets.invalid(kRule, "data_offsets are not a begin and an end", "an array of 2");
  std::int64_t* const ends[] = {&entry.begin, &entry.end};
  std::size_t i = 0;
  for (const auto [key, value] : offsets.items()) {
    auto number = value.integer(0);
    if (!number) return under_rule(std::move(number).error(), kRule);
    *ends[i++] = *number;
    if (*number > data_bytes)
      return value.invalid(kRule, "tensor ends beyond the file", fmt::format("at most {}", data_bytes));
  }
  if (entry.begin > entry.end)
    return offsets.invalid(kRule, "tensor ends before it begins", fmt::format("an end of at least {}", entry.begin));
  return ok();
}

Result<SafetensorsFile::Tensor> read_tensor(Entry& entry, std::int64_t data_bytes) {
  const Value& value = entry.value;
  if (!value.is(Type::object))
    return value.invalid("safetensors.entry", "a tensor's entry is not an object", "an object");
  for (const auto [key, field] : value.items())
    if (key != "dtype" && key != "shape" && key != "data_offsets")
      return field.invalid("safetensors.unknown_field", "unknown field of a tensor", "dtype, shape, data_offsets");
  for (const char* key : {"dtype", "shape", "data_offsets"})
    if (auto field = value.at(key); !field) return under_rule(std::move(field).error(), "safetensors.missing_field");
  const Value type_name = *value.find("dtype"), shape = *value.find("shape"), offsets = *value.find("data_offsets");

  const auto* type = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const StoredType& t) {
    return type_name.is(Type::string) && t.name == type_name.text();
  });
  if (type == std::end(kTypes))
    return type_name.invalid("safetensors.dtype", "unknown type of a tensor", "F32, BF16, F16, ...");
  SafetensorsFile::Tensor tensor;
  tensor.info.stored = std::string(type->name);
  tensor.info.readable = type->dtype.has_value();
  tensor.info.dtype = type->dtype.value_or(DType::u8);
  RL_ASSIGN(tensor.info.shape, read_shape(shape));
  RL_ASSIGN(tensor.bytes, byte_size(shape, tensor.info.shape, *type));
  RL_TRY(read_offsets(entry, offsets, data_bytes));
  if (entry.end - entry.begin != tensor.bytes)
    return offsets.invalid("safetensors.byte_size", "a tensor's bytes do not match its shape and type",
                           fmt::format("{} bytes", tensor.bytes));
  return tensor;
}

// The data are the tensors one after the other: no overlap, no hole, nothing after the last.
Status check_layout(std::vector<Entry>& entries, const FileView& file, std::int64_t data_begin,
                    std::int64_t data_bytes) {
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  std::int64_t end = 0;
  for (const Entry& entry : entries) {
    const Value offsets = *entry.value.find("data_offsets");
    const std::string expected = fmt::format("a begin of {}", end);
    if (entry.begin < end) return offsets.invalid("safetensors.overlap", "tensors overlap", expected);
    if (entry.begin > end) return offsets.invalid("safetensors.hole", "bytes that belong to no tensor", expected);
    end = entry.end;
  }
  if (end == data_bytes) return ok();
  return Error{.kind = ErrorKind::invalid_input,
               .what = "bytes after the last tensor",
               .rule = "safetensors.trailing",
               .file = file.name(),
               .offset = data_begin + end,
               .expected = fmt::format("a file of {} bytes", data_begin + end),
               .found = fmt::format("{} bytes", data_begin + data_bytes)};
}

Result<std::int64_t> header_length(const FileView& file) {
  const std::int64_t size = std::ssize(file.bytes());
  Error error{.kind = ErrorKind::invalid_input,
              .what = "not a safetensors file",
              .rule = "safetensors.size",
              .file = file.name(),
              .offset = 0,
              .expected = "at least 10 bytes",
              .found = fmt::format("{} bytes", size),
              .hint = "the file is incomplete, or not a safetensors file"};
  if (size < 8) return error;
  std::array<std::byte, 8> bytes{};
  RL_TRY(file.read(0, bytes));
  std::uint64_t length = 0;
  for (std::size_t i = 8; i-- > 0;) length = length << 8 | std::to_integer<std::uint64_t>(bytes[i]);
  error.rule = "safetensors.header_length";
  error.what = "impossible header length";
  error.expected = fmt::format("from 2 to {}", std::min(kMaxHeaderBytes, size - 8));
  error.found = std::to_string(length);
  if (length < 2 || length > static_cast<std::uint64_t>(std::min(kMaxHeaderBytes, size - 8))) return error;
  return static_cast<std::int64_t>(length);
}

}  // namespace

Result<SafetensorsFile> SafetensorsFile::open(FileView file) {
  RL_ASSIGN(const std::int64_t length, header_length(file));
  std::string header(static_cast<std::size_t>(length), '\0');
  RL_TRY(file.read(8, std::as_writable_bytes(std::span(header))));
  if (header[0] != '{')
    return Error{.kind = ErrorKind::invalid_input,
                 .what = "the header is not a JSON object",
                 .rule = "safetensors.header_start",
                 .file = file.name(),
                 .offset = 8,
                 .expected = "'{'",
                 .found = json::printable(std::string_view(header).substr(0, 16))};
  RL_ASSIGN(const json::Document document,
            json::Document::parse(file.name(), std::move(header), 8, {.bytes = kMaxHeaderBytes}));
  SafetensorsFile result;
  result.data_begin_ = 8 + length;
  const std::int64_t data_bytes = std::ssize(file.bytes()) - result.data_begin_;
  std::vector<Entry> entries;
  for (const auto [name, value] : document.root().items()) {
    if (name == "__metadata__") {
      RL_TRY(check_metadata(value));
      continue;
    }
    Entry entry{name, value};
    RL_ASSIGN(Tensor tensor, read_tensor(entry, data_bytes));
    tensor.begin = result.data_begin_ + entry.begin;
    entries.push_back(entry);
    result.tensors_.emplace(std::string(name), std::move(tensor));
  }
  RL_TRY(check_layout(entries, file, result.data_begin_, data_bytes));
  result.file_ = std::move(file);
  return result;
}

}  // namespace rl::model
