#pragma once
// Reference results of an op with what their tolerances are derived from, and subsets of them.

#include <cstdint>
#include <vector>

namespace rl::ops {

struct Values {
  std::vector<double> value;  // row-major
  // Per element, the sum of |term| of the accumulations that made it: its rounding scale.
  std::vector<double> abs_terms;
  // Attention only; p are the weights of the keys, s the scores, S a score's own sum of |term|, m the largest score.
  std::vector<double> score_terms;  // sum p (S + |s - m| + 1) |v|  +  |value| sum p (S + |s - m| + 1)
  std::vector<double> root_terms;   // sqrt(sum p^2 v^2)  +  |value| sqrt(sum p^2)
  std::vector<double> value_root;   // sqrt(sum v^2)
};

// Rows and columns of an op's output, seen as [first dimension, the others]; an empty list means all.
struct Subset {
  std::vector<std::int64_t> rows, cols;
};

}  // namespace rl::ops
