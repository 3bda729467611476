#include "model/constant_weights.h"

#include <fmt/format.h>

namespace rl::model {
namespace {

constexpr std::int64_t kSamples = 1024;  // of a piece
constexpr std::int64_t kLeast = 64;      // samples of a matrix of which anything is said

// `magnitude`: all bits but the sign's.
template <class Bits>
void count(const void* data, std::int64_t elements, Bits magnitude, std::int64_t& sampled, std::int64_t& zeros,
           bool& varied) {
  const auto* bits = static_cast<const Bits*>(data);
  const std::int64_t stride = std::max<std::int64_t>(1, elements / kSamples) | 1;  // odd: not the same columns
  for (std::int64_t i = 0; i < elements; i += stride) {
    ++sampled;
    zeros += (bits[i] & magnitude) == 0;
    varied = varied || bits[i] != bits[0];
  }
}

}  // namespace

void ConstantWeights::look_at(std::size_t tensor, const TensorRef& piece) {
  std::int64_t sampled = 0, zeros = 0;
  bool varied = false;
  if (size_of(piece.dtype) == 2)
    count<std::uint16_t>(piece.data, piece.elements(), 0x7FFF, sampled, zeros, varied);
  else
    count<std::uint32_t>(piece.data, piece.elements(), 0x7FFFFFFF, sampled, zeros, varied);
  Seen& seen = seen_[tensor];
  seen.elements += piece.elements();
  seen.sampled += sampled;
  seen.zeros += zeros;
  seen.varied += varied;
}

bool ConstantWeights::constant(std::size_t tensor) const {
  const Seen& seen = seen_[tensor];
  return seen.sampled >= kLeast && (seen.varied == 0 || seen.zeros * 100 >= seen.sampled * 99);
}

Status ConstantWeights::judge(const std::string& model, const std::vector<std::string>& names,
                              std::vector<std::string>& warnings) const {
  std::int64_t all = 0, constants = 0, matrices = 0;
  std::string first;
  for (std::size_t i = 0; i < seen_.size(); ++i) {
    all += seen_[i].elements;
    if (!constant(i)) continue;
    constants += seen_[i].elements;
    if (++matrices == 1) first = names[i];
    warnings.push_back(fmt::format("{}: '{}' is all zero or one value", model, names[i]));
  }
  if (constants * 2 <= all) return ok();
  return Error{
      .kind = ErrorKind::invalid_input,
      .what = "the weights are all zero, or one value over and over: times taken with them say nothing",
      .rule = "weights.constant",
      .file = model,
      .field = first,
      .expected = "values that differ in at least half of the linear weights",
      .found = fmt::format("{} matrices of one value, {}% of the linear weights", matrices, 100 * constants / all),
      .hint = "the file may be incomplete: copy it anew; for speed alone take a synthetic model"};
}

}  // namespace rl::model
