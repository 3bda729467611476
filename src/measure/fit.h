#pragma once
// How a quantity grows: least squares, with the interval of what is read from it.

#include <span>

#include "record/record.h"

namespace rl::measure {

// y = intercept + slope * x. NaN throughout below 3 points or where all x are equal.
struct LineFit {
  double intercept = 0, slope = 0;
  record::Interval ci95;  // of the slope: Student's t with n - 2 degrees of freedom
  double r_squared = 0;   // share of y's variance that the line explains
};
LineFit fit_line(std::span<const double> x, std::span<const double> y);

// y = coefficient * x^exponent: a line through the logarithms. NaN throughout below 3 points or where a value is not
// positive and finite. The interval speaks of the points given: a quantity that changes its law between them (fixed
// cost first, quadratic later) shows as a wide interval or a low r_squared.
struct PowerFit {
  double coefficient = 0, exponent = 0;
  record::Interval ci95;  // of the exponent
  double r_squared = 0;   // of the logarithms
};
PowerFit fit_power(std::span<const double> x, std::span<const double> y);

}  // namespace rl::measure
