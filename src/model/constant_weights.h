#pragma once
// Finds matrices that hold nothing: all zeros, or one value over and over. A file with holes looks so, and so does a
// model that was allocated and never filled. Their products are right and their times are not those of a model:
// processors take less power, and with it run faster, on operands whose bits do not change.

#include <atomic>
#include <string>
#include <vector>

#include "base/result.h"
#include "tensor/tensor.h"

namespace rl::model {

// What samples of each matrix say. Threads may look at pieces of one matrix at the same time.
class ConstantWeights {
 public:
  explicit ConstantWeights(std::size_t tensors) : seen_(tensors) {}

  // Looks at some 1,000 values of a piece of matrix `tensor` (f32, bf16 or f16).
  void look_at(std::size_t tensor, const TensorRef& piece);

  // At least 99% of the values seen are zero, or no piece had two different ones. Below 64 values nothing is said.
  bool constant(std::size_t tensor) const;

  // Of the matrices seen that are in `names`: adds a warning for each constant one; if they are more than half of all
  // values, no time taken with them means anything. Errors: invalid_input, rule "weights.constant".
  Status judge(const std::string& model, const std::vector<std::string>& names,
               std::vector<std::string>& warnings) const;

 private:
  struct Seen {
    std::atomic<std::int64_t> elements = 0, sampled = 0, zeros = 0, varied = 0;  // varied: pieces with two values
  };
  std::vector<Seen> seen_;
};

}  // namespace rl::model
