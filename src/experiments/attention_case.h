#pragma once
// Inputs of one attention layer and one variant bound to them, for experiments that time attention by itself.

#include <string>
#include <vector>

#include "lab/experiment.h"
#include "tensor/buffer.h"

namespace rl::experiments {

struct AttentionShape {
  std::int64_t batch = 1, heads = 1, head_dim = 64, seq = 1;
  bool causal = true;
};

// Q, K, V drawn from a normal distribution in bf16, O, and the index of a cache whose pages lie in order.
class AttentionCase {
 public:
  static Result<AttentionCase> make(lab::Context& context, const AttentionShape& shape);
  // Whether a case of this shape is made of the same numbers: all but what each token sees, which set_causal changes.
  bool has_numbers_of(const AttentionShape& shape) const;
  void set_causal(bool causal);
  const ops::AttentionArgs& args() const { return args_; }
  // The same over the host's copies of the inputs and of an output: for the oracle, and for counting.
  const ops::AttentionArgs& host_args() const { return host_args_; }
  Bytes bytes() const { return bytes_; }  // of Q, K, V and O
  const std::vector<std::int64_t>& tokens_to_check() const { return tokens_to_check_; }

 private:
  std::vector<Buffer> buffers_, host_buffers_;
  ops::AttentionArgs args_, host_args_;
  AttentionShape shape_;
  Bytes bytes_;
  std::vector<std::int64_t> tokens_to_check_;
};

// One variant with its workspace, over inputs that outlive it.
class AttentionRun {
 public:
  // The first variant of this kind that takes the inputs, as the engine would choose it: "flash" is
  // attention/cuda.flash or attention/cuda.flash_wgmma. Errors: unsupported with the reason of the last; out_of_memory
  // (rule "attention.memory": the workspace), with what is needed and what was free.
  static Result<AttentionRun> make(lab::Context& context, const AttentionCase& inputs, std::string_view kind);
  // Runs once into an output filled with NaN and compares a sample of tokens with the oracle. Errors: internal, with
  // the comparison. Keep the result: checked() says what was checked.
  Status check(lab::Context& context);
  Status run();
  Bytes workspace() const { return workspace_bytes_; }  // counted by the allocator
  std::string variant() const { return variant_->name; }
  const std::string& checked() const { return checked_; }

 private:
  const ops::Variant<ops::AttentionArgs>* variant_ = nullptr;
  const AttentionCase* inputs_ = nullptr;
  std::unique_ptr<Stream> stream_;
  Buffer workspace_;
  Bytes workspace_bytes_;
  std::string checked_;
};

}  // namespace rl::experiments
