#pragma once
// How far a sound implementation may be from the oracle, per element: derived from the op's own terms and the formats'
// precision, never typed by hand.
//
// An implementation computes in float (or in products that float holds exactly) from the inputs as stored, and rounds
// the result to the output's type once. With u = 2^-24 (float's unit roundoff) and d the error before that last
// rounding, |out - ref| <= u_out |ref| + (1 + u_out) d + max(2^-126, s_out / 2): the last for kernels that flush
// subnormal numbers, and for results below the output type's normal ones, where its numbers are s_out apart (f16:
// 2^-24).
//
// A sum of n terms in any order errs by at most (n - 1) u sum|t|, and with rounding errors as independent as they are
// in practice by lambda sqrt(n) u sum|t| except with probability 2 exp(-lambda^2 / 2) (Higham and Mary, "A new approach
// to probabilistic rounding error analysis", SIAM J. Sci. Comput. 41(5), 2019). lambda = 6 gives 3e-8, and the bound
// stays far below what a wrong term costs. A kernel that truncates products or sums instead of rounding them needs a
// bound of its own.

#include "ops/attention.h"
#include "ops/embed.h"
#include "ops/linear.h"
#include "ops/rms_norm.h"
#include "ops/rope_append.h"
#include "ops/silu_mul.h"
#include "ops/values.h"

namespace rl::ops {

// Tolerances of `values`, one per element. Where the output is codes: of the numbers they are codes of.
std::vector<double> tolerance(const EmbedArgs& args, const Values& values);
std::vector<double> tolerance(const RmsNormArgs& args, const Values& values);
// sum_error: of the variant's Facts.
std::vector<double> tolerance(const LinearArgs& args, const Values& values, double sum_error = 0);
std::vector<double> tolerance(const AttentionArgs& args, const Values& values);
std::vector<double> tolerance(const SiluMulArgs& args, const Values& values);
// Of q or k, written as `out`. The values are rounded, and otherwise copied: their tolerance is 0.
std::vector<double> tolerance(const RopeAppendArgs& args, const Values& values, bool normed, DType out);

}  // namespace rl::ops
