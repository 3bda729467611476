#pragma once
// Inputs of cases: from a row of a case table to Args over owned host memory, the same numbers on every machine.
// Outputs are filled with NaN (integers with kUnwritten) and lie between guard bands, so that an element not written
// and a write beside the output both show.

#include <vector>

#include "ops/attention.h"
#include "ops/attention_cases.h"
#include "ops/codes.h"
#include "ops/embed.h"
#include "ops/embed_cases.h"
#include "ops/fused_linear.h"
#include "ops/fused_linear_cases.h"
#include "ops/linear.h"
#include "ops/linear_cases.h"
#include "ops/rms_norm.h"
#include "ops/rms_norm_cases.h"
#include "ops/rope_append.h"
#include "ops/rope_append_cases.h"
#include "ops/sample.h"
#include "ops/sample_cases.h"
#include "ops/silu_mul.h"
#include "ops/silu_mul_cases.h"
#include "ops/step_io.h"
#include "ops/step_io_cases.h"
#include "tensor/buffer.h"

namespace rl::ops {

inline constexpr std::uint64_t kCaseSeed = 7;
inline constexpr std::int32_t kUnwritten = INT32_MIN;

// Owns the tensors of a case. Each tensor is drawn from a stream of its own under the seed. Every function that
// allocates fails with out_of_memory.
class CaseMemory {
 public:
  explicit CaseMemory(std::uint64_t seed = kCaseSeed, MemoryResource& resource = host_memory())
      : seed_(seed), resource_(&resource) {}

  using Shape = std::initializer_list<std::int64_t>;
  // f32, bf16, f16 or f8_e4m3; contiguous, zero mean.
  Result<TensorRef> normal(DType dtype, Shape shape, double deviation = 1);
  Result<TensorRef> integers(const std::vector<std::int32_t>& values);  // i32 [n]
  Result<TensorRef> uniform_below(std::int64_t limit, std::int64_t n);  // i32 [n], each in [0, limit)
  Result<TensorRef> filled(DType dtype, Shape shape, double value);     // floating-point types
  // What an op writes: unwritten, between guard bands.
  Result<TensorRef> output(DType dtype, Shape shape);
  // What an op changes in place: normal values, between guard bands.
  Result<TensorRef> in_place(DType dtype, Shape shape, double deviation = 1);
  // Codes of normal values, of deviation 1 and rounded to bf16, for weights of `format`; rows `stride` apart, with
  // codes between them that must not be read (of e4m3: NaN).
  struct Coded {
    TensorRef codes, scales;
  };
  Result<Coded> coded(quant::Format format, std::int64_t rows, std::int64_t cols, std::int64_t stride);
  Result<quant::PackedWeight> weight(quant::Format format, quant::Layout layout, std::int64_t rows, std::int64_t cols,
                                     double deviation);
  Result<void*> bytes(Bytes size);

  const std::vector<Buffer>& buffers() const { return buffers_; }

  // Errors: internal, which names the first output with a changed guard band and how far from it.
  Status check_guards() const;
  // Guard bands as they were, for outputs that are written again.
  void renew_guards();

 private:
  struct Guarded {
    std::size_t buffer = 0;
    std::int64_t bytes = 0;
  };
  Result<TensorRef> guarded(DType dtype, Shape shape);
  void fill_normal(const TensorRef& t, double deviation);

  std::uint64_t seed_, streams_ = 0;
  MemoryResource* resource_;
  std::vector<Buffer> buffers_;
  std::vector<Guarded> guarded_;
};

// Args over the memory they point into; movable, for buffers stay where they are.
template <class Args>
struct CaseInputs {
  Args args;
  CaseMemory memory;
};

Result<CaseInputs<EmbedArgs>> make_inputs(const EmbedCase& c, quant::Format format, quant::Layout layout);
// Weights have a deviation of 1 / sqrt(cols), so that outputs have that of x.
Result<CaseInputs<LinearArgs>> make_inputs(const LinearCase& c, const LinearTypes& types, quant::Layout layout);
// Each token is its own sequence, at another position. Row-major weights.
Result<CaseInputs<FusedLinearArgs>> make_inputs(const FusedLinearCase& c, const FusedTypes& types);
Result<CaseInputs<RmsNormArgs>> make_inputs(const RmsNormCase& c, DType out);
Result<CaseInputs<RmsNormArgs>> make_inputs(const RmsNormCase& c, const CodedType& out);
// The cache's pages are handed out in shuffled order, and hold NaN where no token of a sequence lies; page table
// entries past a sequence's last page are INT32_MAX.
Result<CaseInputs<AttentionArgs>> make_inputs(const AttentionCase& c, CacheTypes types);
Result<CaseInputs<RopeAppendArgs>> make_inputs(const RopeAppendCase& c, CacheTypes types);
Result<CaseInputs<SiluMulArgs>> make_inputs(const SiluMulCase& c, DType type);
Result<CaseInputs<SiluMulArgs>> make_inputs(const SiluMulCase& c, const CodedType& out);
Result<CaseInputs<SampleArgs>> make_inputs(const SampleCase& c);
// Ids and tail hold tokens, and among them words that stand for rows of the previous step, one of which has no token.
Result<CaseInputs<FeedArgs>> make_inputs(const FeedCase& c);
Result<CaseInputs<DeliverArgs>> make_inputs(const DeliverCase& c);

// `count` of the indices [0, n), ascending: the first and last ones, neighbours of multiples of 64, and others drawn;
// all of them if count is 0 or at least n.
std::vector<std::int64_t> choose_indices(std::int64_t n, std::int64_t count);

}  // namespace rl::ops
