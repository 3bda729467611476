#include "measure/student_t.h"

#include <cmath>
#include <limits>

namespace rl::measure {
namespace {

// The continued fraction of I_x(a, b), DLMF 8.17.22, evaluated by Lentz's method. Converges fast for x < (a+1)/(a+b+2).
double beta_fraction(double a, double b, double x) {
  constexpr double kTiny = 1e-300;
  double c = 1, d = 1 - (a + b) * x / (a + 1);
  d = 1 / (std::abs(d) < kTiny ? kTiny : d);
  double h = d;
  for (int m = 1; m <= 1000; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    double step = 1;
    for (const double term : {even, odd}) {
      d = 1 + term * d;
      d = 1 / (std::abs(d) < kTiny ? kTiny : d);
      c = 1 + term / c;
      if (std::abs(c) < kTiny) c = kTiny;
      step = c * d;
      h *= step;
    }
    if (std::abs(step - 1) < 1e-14) break;
  }
  return h;
}

// lgamma() writes a global (signgam); this one does not.
double log_gamma(double x) {
  int sign = 0;
  return ::lgamma_r(x, &sign);
}

// `complement` is 1 - x, passed apart because it loses its digits where x is close to 1.
double incomplete_beta(double a, double b, double x, double complement) {
  if (x <= 0) return 0;
  if (complement <= 0) return 1;
  const double front =
      std::exp(log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * std::log(x) + b * std::log(complement));
  if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(a, b, x) / a;
  return 1 - front * beta_fraction(b, a, complement) / b;
}

}  // namespace

double student_t_two_sided(double t, double df) {
  const double square = t * t;
  return incomplete_beta(df / 2, 0.5, df / (df + square), square / (df + square));
}

double student_t_critical(double alpha, double df) {
  if (!(df > 0)) return std::numeric_limits<double>::infinity();
  double low = 0, high = 1;
  while (student_t_two_sided(high, df) > alpha && high < 1e150) high *= 2;
  while (high - low > 1e-10 * high) {
    const double middle = low + (high - low) / 2;
    (student_t_two_sided(middle, df) > alpha ? low : high) = middle;
  }
  return high;
}

}  // namespace rl::measure
