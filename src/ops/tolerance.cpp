#include "ops/tolerance.h"

#include "tensor/element.h"

namespace rl::ops {
namespace {

constexpr double kUnit = 0x1p-24;  // unit roundoff of float
constexpr double kLambda = 6;
constexpr double kFlushed = 0x1p-126;

// Relative to the sum of |term|: a sum of n products, each rounded, and one rounding more.
double accumulation(std::int64_t n) {
  const double terms = static_cast<double>(n);
  return (std::min(terms, kLambda * std::sqrt(terms)) + 2) * kUnit;
}

// The norm's factor, relatively: a sum of n squares (its error halved by the root), mean, eps, root and division to
// within 2 units each, and the product with the weight.
double norm_factor(std::int64_t n) { return accumulation(n) / 2 + 8 * kUnit; }

double rounded(DType out, double ref, double error) {
  const double unit = eps_of(out) / 2;
  return unit * std::abs(ref) + (1 + unit) * error + std::max(kFlushed, smallest_of(out) / 2);
}

template <class F>
std::vector<double> per_element(const Values& values, DType out, F&& error_of) {
  std::vector<double> result(values.value.size());
  for (std::size_t i = 0; i < result.size(); ++i) result[i] = rounded(out, values.value[i], error_of(i));
  return result;
}

}  // namespace

// Copied exactly, or a product rounded to float.
std::vector<double> tolerance(const EmbedArgs& args, const Values& values) {
  if (args.table.format != quant::Format::int8) return std::vector<double>(values.value.size(), 0.0);
  return per_element(values, args.out.dtype, [](std::size_t) { return 0.0; });
}

std::vector<double> tolerance(const RmsNormArgs& args, const Values& values) {
  const double factor = norm_factor(args.x.shape[1]);
  const DType type = args.scales ? args.rounded : args.out.dtype;
  return per_element(values, type, [&](std::size_t i) { return factor * values.abs_terms[i]; });
}

// int8: the reference is the exact emulation; two products, the bias and the old output are rounded once each, and a
// compiler may fuse the last of them. fp8: codes and scales are exact in the reference as well; beside the sum, each
// block's partial sum is scaled (three roundings, relatively).
std::vector<double> tolerance(const LinearArgs& args, const Values& values, double sum_error) {
  const bool int8 = args.weight.format == quant::Format::int8;
  const double scaling = quant::scales_of(args.weight.format) == quant::Scales::none ? 0 : 4 * kUnit;
  const double factor = int8 ? 4 * kUnit : accumulation(args.weight.cols + 2) + scaling + sum_error;
  return per_element(values, args.out.dtype, [&](std::size_t i) { return factor * values.abs_terms[i]; });
}

// out = sum p v, p = exp(s - m) / sum exp(s - m). To first order:
//   - a score errs by e = accumulation(head_dim) S, the exponential's argument by u |s - m| and its value by 4 u;
//   through
//     p, out errs by at most sum p e |v| + |out| sum p e: score_terms times accumulation(head_dim) + 4 u.
//   - the sums of p v and of p, each with a rescaling per key at worst (online softmax): twice accumulation(2 keys).
//   - 16-bit kernels round p to the inputs' type before the product with v. These errors are independent, each at most
//     u_q p |v|: lambda u_q sqrt(sum p^2 v^2) by Hoeffding's inequality, and never more than u_q sum p |v|; likewise in
//     the sum of p. Where p leaves f16's normal numbers its error is up to 2^-25 instead: lambda 2^-25 sqrt(sum v^2).
std::vector<double> tolerance(const AttentionArgs& args, const Values& values) {
  const double score = accumulation(args.q.shape[2]) + 4 * kUnit;
  const double sums = 2 * accumulation(2 * args.max_kv);
  const double weights = args.q.dtype == DType::f32 ? 0 : eps_of(args.q.dtype) / 2;
  const double vanished = args.q.dtype == DType::f16 ? kLambda * smallest_of(DType::f16) / 2 : 0;
  return per_element(values, args.out.dtype, [&](std::size_t i) {
    const double most = values.abs_terms[i] + std::abs(values.value[i]);
    return score * values.score_terms[i] + sums * values.abs_terms[i] +
           weights * std::min(most, kLambda * values.root_terms[i]) + vanished * values.value_root[i];
  });
}

// The exponential's argument rounded: |gate| u; its value 2 u; addition, division and product: u each, doubled for
// approximate division. abs_terms holds (1 + |gate|) |out|.
std::vector<double> tolerance(const SiluMulArgs& args, const Values& values) {
  return per_element(values, args.gate_up.dtype, [&](std::size_t i) { return 8 * kUnit * values.abs_terms[i]; });
}

// Two products and their sum, of elements that the norm has scaled.
std::vector<double> tolerance(const RopeAppendArgs& args, const Values& values, bool normed, DType out) {
  const double factor = 3 * kUnit + (normed ? norm_factor(args.head_dim) : 0);
  return per_element(values, out, [&](std::size_t i) { return factor * values.abs_terms[i]; });
}

}  // namespace rl::ops
