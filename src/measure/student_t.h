#pragma once
// Student's t distribution, for intervals from few samples. Fractional degrees of freedom are allowed.

namespace rl::measure {

// P(|T| > t) for t >= 0: the regularised incomplete beta function I_x(df/2, 1/2) at x = df / (df + t^2).
double student_t_two_sided(double t, double df);

// The t with P(|T| > t) = alpha, 0 < alpha < 1; infinity for df <= 0. Relative error below 1e-9.
double student_t_critical(double alpha, double df);

}  // namespace rl::measure
