#include "ops/compare.h"

#include "tensor/element.h"

namespace rl::ops {
namespace {

// Calls f(offset in elements) for each element in row-major order.
template <class F>
void for_each_offset(const TensorRef& t, F&& f) {
  const std::int64_t n = t.elements();
  std::int64_t index[TensorRef::kMaxRank] = {}, offset = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    f(offset);
    for (int d = t.rank - 1; d >= 0; --d) {
      offset += t.strides[d];
      if (++index[d] < t.shape[d]) break;
      offset -= t.strides[d] * t.shape[d];
      index[d] = 0;
    }
  }
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
  Comparison result{.elements = out.data ? out.elements() : 0};
  const auto n = static_cast<std::size_t>(result.elements);
  if (n == 0 || ref.size() != n || (tolerance.size() != n && tolerance.size() != 1)) {
    result.failures = std::max<std::int64_t>(result.elements, 1);
    result.relative_error = std::numeric_limits<double>::infinity();
    result.sizes_differ = n != 0;
    return result;
  }
  double worst = -1, error_squares = 0, ref_squares = 0;
  bool worst_failed = false, finite = true;
  std::size_t i = 0;
  for_each_offset(out, [&](std::int64_t offset) {
    const double got = load_element(out.dtype, out.data, offset), expected = ref[i];
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
    ++i;
  });
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
