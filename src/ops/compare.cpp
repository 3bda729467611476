#include "ops/compare.h"

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
