#include "ops/check.h"

#include "base/checked.h"
#include "num/int8.h"
#include "quant/pack.h"

namespace rl::ops {
namespace {

std::string text_of(std::span<const std::int64_t> numbers) {
  std::string text = "[";
  for (const std::int64_t n : numbers) text += (text.size() > 1 ? ", " : "") + (n == kAny ? "n" : std::to_string(n));
  return text + "]";
}

std::string text_of(std::initializer_list<DType> types) {
  std::string text;
  for (const DType type : types) text += std::string(text.empty() ? "" : " or ") + name_of(type);
  return text;
}

bool aligned(const void* data, std::int64_t bytes) {
  return reinterpret_cast<std::uintptr_t>(data) % static_cast<std::uintptr_t>(bytes) == 0;
}

// Contiguous but for the first stride, which may leave gaps. Strides of single rows do not matter.
bool rows_apart(const TensorRef& t) {
  TensorRef row = t;
  row.shape[0] = 1;
  return row.contiguous() && (t.shape[0] == 1 || t.strides[0] >= row.elements());
}

// Bytes from the first element to the end of the last one.
std::int64_t extent(const TensorRef& t) {
  std::int64_t last = 0;
  for (int d = 0; d < t.rank; ++d) last += (t.shape[d] - 1) * t.strides[d];
  return (last + 1) * size_of(t.dtype);
}

}  // namespace

Status check(bool holds, const char* op, const char* field, const char* rule, std::string expected, std::string found) {
  if (holds) return ok();
  return Error{.kind = ErrorKind::invalid_input,
               .what = fmt::format("{}: {} breaks a rule of the op", op, field),
               .rule = fmt::format("{}.{}.{}", op, field, rule),
               .field = field,
               .expected = std::move(expected),
               .found = std::move(found)};
}

Status check_tensor(const char* op, const char* field, const TensorRef& t, const TensorRule& rule) {
  RL_TRY(check(t.data != nullptr, op, field, "null", "a tensor", "none"));
  const bool type_fits = std::find(rule.types.begin(), rule.types.end(), t.dtype) != rule.types.end();
  RL_TRY(check(type_fits, op, field, "type", text_of(rule.types), name_of(t.dtype)));
  const std::span<const std::int64_t> shape(t.shape, static_cast<std::size_t>(std::clamp(t.rank, 0, t.kMaxRank)));
  bool fits = shape.size() == rule.shape.size();
  for (std::size_t i = 0; fits && i < shape.size(); ++i) {
    const std::int64_t wanted = rule.shape.begin()[i];
    fits = shape[i] >= 1 && (wanted == kAny || shape[i] == wanted);
  }
  RL_TRY(check(fits, op, field, "shape", text_of(rule.shape), text_of(shape)));
  const auto elements = checked_product(shape);
  RL_TRY(check(elements && checked_mul(*elements, 8), op, field, "size", "at most 2^60 elements", text_of(shape)));
  RL_TRY(check(rule.strided_rows ? rows_apart(t) : t.contiguous(), op, field, "strides",
               rule.strided_rows ? "rows that are contiguous and do not overlap" : "contiguous",
               "strides " + text_of(std::span(t.strides, shape.size()))));
  return check(aligned(t.data, size_of(t.dtype)), op, field, "alignment",
               fmt::format("an address that is a multiple of {}", size_of(t.dtype)), fmt::format("{}", t.data));
}

Status check_weight(const char* op, const char* field, const quant::PackedWeight& w) {
  RL_TRY(check(w.data != nullptr, op, field, "null", "a weight", "none"));
  const auto size = quant::packed_size(w.format, w.layout, w.rows, w.cols);
  RL_TRY(check(size.has_value(), op, field, "size", "positive rows and cols, fewer than 2^60 elements",
               fmt::format("{} x {}", w.rows, w.cols)));
  RL_TRY(check(w.padded_rows == size->padded_rows && w.padded_cols == size->padded_cols, op, field, "padding",
               fmt::format("{} x {} as {} stores it", size->padded_rows, size->padded_cols, name_of(w.layout)),
               fmt::format("{} x {}", w.padded_rows, w.padded_cols)));
  RL_TRY(check(aligned(w.data, 64), op, field, "alignment", "an address that is a multiple of 64",
               fmt::format("{}", w.data)));
  const bool scaled = quant::scales_of(w.format) != quant::Scales::none, int8 = w.format == quant::Format::int8;
  RL_TRY(check((w.scales != nullptr) == scaled, op, field, "scales", scaled ? "scales" : "no scales",
               w.scales ? "scales" : "none"));
  return check(!int8 || w.cols <= num::kInt8MaxCols, op, field, "int8_cols",
               fmt::format("at most {} cols, for sums to fit 32 bits", num::kInt8MaxCols), std::to_string(w.cols));
}

Status check_pages(const char* op, const KvPages& pages, DType type, std::int64_t kv_heads, std::int64_t head_dim) {
  RL_TRY(check_tensor(op, "k", pages.k, {.types = {type, DType::f8_e4m3}, .shape = {kAny, kv_heads, kAny, head_dim}}));
  const std::int64_t* shape = pages.k.shape;
  return check_tensor(op, "v", pages.v, {.types = {pages.k.dtype}, .shape = {shape[0], shape[1], shape[2], shape[3]}});
}

Status check_apart(const char* op, const TensorRef& out, const char* field, const TensorRef& input) {
  const auto *a = static_cast<const char*>(out.data), *b = static_cast<const char*>(input.data);
  const bool apart = a + extent(out) <= b || b + extent(input) <= a;
  return check(apart, op, "out", "overlap", fmt::format("memory apart from {}", field), "an overlap");
}

}  // namespace rl::ops
