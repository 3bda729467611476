#include "ops/compare.h"

#include "num/fp8.h"
#include "num/int8.h"
#include "ops/codes.h"
#include "tensor/element.h"

namespace rl::ops {
namespace {

// Offsets of the subset's elements, row-major.
std::vector<std::int64_t> offsets_of(const TensorRef& t, const Subset& subset) {
  std::vector<std::int64_t> cols(1, 0), all;
  for (int d = 1; d < t.rank; ++d) {
    std::vector<std::int64_t> finer;
    for (const std::int64_t offset : cols)
      for (std::int64_t i = 0; i < t.shape[d]; ++i) finer.push_back(offset + i * t.strides[d]);
    cols = std::move(finer);
  }
  const auto add_row = [&](std::int64_t row) {
    if (subset.cols.empty()) {
      for (const std::int64_t offset : cols) all.push_back(row * t.strides[0] + offset);
    } else {
      for (const std::int64_t col : subset.cols)
        all.push_back(row * t.strides[0] + cols[static_cast<std::size_t>(col)]);
    }
  };
  if (subset.rows.empty()) {
    for (std::int64_t row = 0; row < (t.rank > 0 ? t.shape[0] : 1); ++row) add_row(row);
  } else {
    for (const std::int64_t row : subset.rows) add_row(row);
  }
  return all;
}

// How far out is from ref in tolerances: 0 is exact, above 1 (or not a number) is wrong.
double excess(double out, double ref, double tolerance) {
  if (std::isinf(ref) && out == ref) return 0;
  const double error = std::abs(out - ref);
  if (error == 0) return 0;
  return std::isfinite(error) && tolerance > 0 ? error / tolerance : std::numeric_limits<double>::infinity();
}

}  // namespace

Comparison compare(const TensorRef& out, std::span<const double> ref, std::span<const double> tolerance) {
  return compare(out, {}, ref, tolerance);
}

Comparison compare(const TensorRef& out, const Subset& subset, std::span<const double> ref,
                   std::span<const double> tolerance) {
  const std::vector<std::int64_t> offsets = out.data ? offsets_of(out, subset) : std::vector<std::int64_t>();
  const std::size_t n = offsets.size();
  Comparison result{.elements = static_cast<std::int64_t>(n)};
  if (n == 0 || ref.size() != n || (tolerance.size() != n && tolerance.size() != 1)) {
    result.failures = std::max<std::int64_t>(result.elements, 1);
    result.relative_error = std::numeric_limits<double>::infinity();
    result.sizes_differ = n != 0;
    return result;
  }
  double worst = -1, error_squares = 0, ref_squares = 0;
  bool worst_failed = false, finite = true;
  for (std::size_t i = 0; i < n; ++i) {
    const double got = load_element(out.dtype, out.data, offsets[i]), expected = ref[i];
    const double allowed = tolerance.size() == 1 ? tolerance[0] : tolerance[i];
    const bool good = std::abs(got - expected) <= allowed || (std::isinf(expected) && got == expected);
    result.failures += good ? 0 : 1;
    // A failure outranks every good element; among failures NaN and infinite errors come first.
    double distance = excess(got, expected, allowed);
    if (std::isnan(distance)) distance = std::numeric_limits<double>::infinity();
    if ((!good && !worst_failed) || (good != worst_failed && distance > worst)) {
      worst = distance;
      worst_failed = !good;
      result.worst_index = static_cast<std::int64_t>(i);
      result.worst_out = got, result.worst_ref = expected, result.worst_tolerance = allowed;
    }
    finite = finite && std::isfinite(got) && std::isfinite(expected);
    error_squares += (got - expected) * (got - expected);
    ref_squares += expected * expected;
  }
  result.passed = result.failures == 0;
  const double norm = error_squares == 0 ? 0 : std::sqrt(error_squares / ref_squares);
  result.relative_error = finite ? norm : std::numeric_limits<double>::infinity();
  return result;
}

Comparison compare_codes(const TensorRef& codes, const TensorRef& scales, std::span<const double> ref,
                         std::span<const double> tolerance) {
  const std::int64_t n = codes.data && scales.data ? codes.elements() : 0;
  Comparison result{.elements = n == 0 ? 0 : n + scales.elements()};
  if (n == 0 || std::ssize(ref) != n || std::ssize(tolerance) != n) {
    result.failures = std::max<std::int64_t>(result.elements, 1);
    result.relative_error = std::numeric_limits<double>::infinity();
    result.sizes_differ = n != 0;
    return result;
  }
  const bool int8 = codes.dtype == DType::i8;
  const auto scale_for = [&](double magnitude) {
    const std::uint32_t bits = num::magnitude_bits(static_cast<float>(magnitude));
    return static_cast<double>(int8 ? num::int8_scale(bits) : num::fp8_scale(bits));
  };
  const auto code_for = [&](double number, double scale) {
    const auto x = static_cast<float>(number), s = static_cast<float>(scale);
    return int8 ? static_cast<double>(num::quantize_int8(x, s))
                : static_cast<double>(num::to_float(num::quantize_fp8(x, s)));
  };
  // The first element outside its bounds is the worst: there are no degrees.
  const auto expect = [&](std::int64_t index, double got, double low, double high) {
    if (low <= got && got <= high) return;
    if (result.failures++ > 0) return;
    result.worst_index = index;
    result.worst_out = got, result.worst_ref = (low + high) / 2, result.worst_tolerance = (high - low) / 2;
  };
  const std::int64_t cols = codes.shape[1], groups = scales.shape[1], width = group_cols(cols, groups);
  for (std::int64_t row = 0; row < codes.shape[0]; ++row)
    for (std::int64_t g = 0; g < groups; ++g) {
      const std::int64_t first = row * cols + g * width, end = row * cols + std::min((g + 1) * width, cols);
      double least = 0, most = 0;
      for (std::int64_t i = first; i < end; ++i) {
        const auto at = static_cast<std::size_t>(i);
        least = std::max(least, std::abs(ref[at]) - tolerance[at]);
        most = std::max(most, std::abs(ref[at]) + tolerance[at]);
      }
      const double scale = load_element(DType::f32, scales.data, row * groups + g);
      expect(n + row * groups + g, scale, scale_for(least), scale_for(most));
      for (std::int64_t i = first; i < end; ++i) {
        const auto at = static_cast<std::size_t>(i);
        expect(i, load_element(codes.dtype, codes.data, i), code_for(ref[at] - tolerance[at], scale),
               code_for(ref[at] + tolerance[at], scale));
      }
    }
  result.passed = result.failures == 0;
  return result;
}

std::string Comparison::message() const {
  if (elements == 0) return "nothing to compare";
  if (sizes_differ) return fmt::format("{} elements beside a reference or tolerance of another size", elements);
  const std::string worst =
      fmt::format("element {} is {:.9g} where {:.9g} +- {:.3g} is expected; relative error of all {:.3g}", worst_index,
                  worst_out, worst_ref, worst_tolerance, relative_error);
  if (passed) return fmt::format("all {} elements agree; the nearest to its bound: {}", elements, worst);
  return fmt::format("{} of {} elements are wrong; the worst: {}", failures, elements, worst);
}

}  // namespace rl::ops
