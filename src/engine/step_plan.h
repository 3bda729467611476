#pragma once
// A step as a list of bound ops: variant, arguments and workspace of each are fixed when the plan is made, and running
// it is calling them in order. The list is what a result's path certificate says, and what a GPU backend captures.

#include <compare>
#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "device/device.h"
#include "ops/catalog.h"

namespace rl::engine {

// The shape a plan is bound for.
struct StepBucket {
  std::int64_t tokens = 0;
  std::int64_t seqs = 0;
  std::int64_t max_q = 0;      // an upper bound of the tokens of one sequence in the step; 1: all decode
  std::int64_t head_rows = 0;  // rows that go through the final norm and the head; 0: neither runs
  bool sample = true;          // draw a token from each of them
  friend auto operator<=>(const StepBucket&, const StepBucket&) = default;
};
// The shape of a step as it is. Every sequence has at least one token, which bounds the tokens of each.
StepBucket step_shape(std::int64_t tokens, std::int64_t seqs, std::int64_t head_rows, bool sample);

// Which bucket a step of some shape runs in. A backend whose plans are dear (captured graphs) rounds up, and the step's
// inputs are padded; one whose plans are cheap takes each shape as it is.
class BucketPolicy {
 public:
  virtual ~BucketPolicy() = default;
  // At least as large in every dimension, within `limits` (the largest step), and equal in `sample`.
  virtual StepBucket bucket_for(const StepBucket& step, const StepBucket& limits) const = 0;
  virtual bool pads() const = 0;  // whether a bucket can be larger than its step
};
const BucketPolicy& exact_buckets();
// Tokens, sequences and head rows each rounded up to a power of two.
const BucketPolicy& power_of_two_buckets();
// The same, but steps of more than 64 tokens to multiples of 64: a captured plan for each, at little cost in padding.
const BucketPolicy& capture_buckets();

template <class Args>
struct BoundVariant {
  const ops::Variant<Args>* variant = nullptr;
  Args args;
};

struct BoundOp {
  const char* site = "";  // "qkv"
  int layer = -1;
  std::variant<BoundVariant<ops::FeedArgs>, BoundVariant<ops::DeliverArgs>, BoundVariant<ops::EmbedArgs>,
               BoundVariant<ops::RmsNormArgs>, BoundVariant<ops::LinearArgs>, BoundVariant<ops::FusedLinearArgs>,
               BoundVariant<ops::RopeAppendArgs>, BoundVariant<ops::AttentionArgs>, BoundVariant<ops::SiluMulArgs>,
               BoundVariant<ops::SampleArgs>>
      op;
  Bytes workspace_bytes;
  void* workspace = nullptr;
  bool measured = false;  // the variant was chosen by its time

  const char* variant_name() const;
  const ops::Facts& facts() const;
  bool emulated() const;  // weights of a quantised format, by a variant without instructions made for it
  Status launch(Stream& stream) const;
};

struct StepPlan {
  StepBucket bucket;
  std::vector<BoundOp> ops;
  std::unique_ptr<CapturedStep> captured;  // the ops as one launch, once it was made
  std::int64_t runs = 0;

  // Captured where that was done, else op by op.
  Status run(Stream& stream) const;
  // Whether every op may be captured.
  bool graph_safe() const;
  // Records the ops. Their kernels must have run before: what a first launch loads or asks is no part of a capture.
  // Errors: the device's.
  Status capture(Stream& stream, const CaptureOptions& options);
  Bytes workspace() const;                // the most an op needs
  std::vector<std::string> path() const;  // "site: variant", each once, sorted; "(measured)" behind those chosen so
  bool batch_invariant() const;           // every op's variant is
  bool emulated() const;                  // any op is
};

// The plans used last, found by bucket.
class PlanCache {
 public:
  explicit PlanCache(std::size_t capacity) : capacity_(capacity) {}
  StepPlan* find(const StepBucket& bucket);
  // Adds a plan, dropping the one unused for longest if full. The pointer holds until the next insert.
  StepPlan* insert(StepPlan plan);
  std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::uint64_t used = 0;
    std::unique_ptr<StepPlan> plan;
  };
  std::size_t capacity_;
  std::uint64_t clock_ = 0;
  std::vector<Entry> entries_;
};

}  // namespace rl::engine
