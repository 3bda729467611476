#include "engine/step_plan.h"

#include <bit>
#include <set>

#include "base/checked.h"

namespace rl::engine {
namespace {

class ExactBuckets final : public BucketPolicy {
 public:
  StepBucket bucket_for(const StepBucket& step, const StepBucket&) const override { return step; }
  bool pads() const override { return false; }
};

class PowerOfTwoBuckets final : public BucketPolicy {
 public:
  StepBucket bucket_for(const StepBucket& step, const StepBucket& limits) const override {
    const auto up = [](std::int64_t n, std::int64_t limit) {
      return n == 0 ? 0 : std::min(static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(n))), limit);
    };
    return {.tokens = up(step.tokens, limits.tokens),
            .seqs = up(step.seqs, limits.seqs),
            .max_q = up(step.max_q, limits.tokens),
            .head_rows = up(step.head_rows, step.sample ? limits.seqs : limits.head_rows),
            .sample = step.sample};
  }
  bool pads() const override { return true; }
};

class CaptureBuckets final : public BucketPolicy {
 public:
  StepBucket bucket_for(const StepBucket& step, const StepBucket& limits) const override {
    StepBucket bucket = power_of_two_buckets().bucket_for(step, limits);
    const auto up = [](std::int64_t n, std::int64_t limit) { return std::min(ceil_div(n, kStep) * kStep, limit); };
    if (step.tokens > kStep) bucket.tokens = up(step.tokens, limits.tokens);
    if (step.max_q > kStep) bucket.max_q = up(step.max_q, bucket.tokens);
    if (step.head_rows > kStep) bucket.head_rows = up(step.head_rows, step.sample ? limits.seqs : limits.head_rows);
    return bucket;
  }
  bool pads() const override { return true; }

 private:
  static constexpr std::int64_t kStep = 64;
};

}  // namespace

StepBucket step_shape(std::int64_t tokens, std::int64_t seqs, std::int64_t head_rows, bool sample) {
  return {.tokens = tokens, .seqs = seqs, .max_q = tokens - seqs + 1, .head_rows = head_rows, .sample = sample};
}

const BucketPolicy& exact_buckets() {
  static const ExactBuckets instance;
  return instance;
}

const BucketPolicy& power_of_two_buckets() {
  static const PowerOfTwoBuckets instance;
  return instance;
}

const BucketPolicy& capture_buckets() {
  static const CaptureBuckets instance;
  return instance;
}

const char* BoundOp::variant_name() const {
  return std::visit([](const auto& bound) { return bound.variant->name; }, op);
}

const ops::Facts& BoundOp::facts() const {
  return std::visit([](const auto& bound) -> const ops::Facts& { return bound.variant->facts; }, op);
}

bool BoundOp::emulated() const {
  const auto* const linear = std::get_if<BoundVariant<ops::LinearArgs>>(&op);
  return linear != nullptr && linear->variant->facts.emulated &&
         quant::scales_of(linear->args.weight.format) != quant::Scales::none;
}

Status BoundOp::launch(Stream& stream) const {
  return std::visit([&](const auto& bound) { return bound.variant->launch(bound.args, workspace, stream); }, op);
}

Status StepPlan::run(Stream& stream) const {
  if (captured) return stream.replay(*captured);
  for (const BoundOp& op : ops) RL_TRY(op.launch(stream));
  return ok();
}

bool StepPlan::graph_safe() const {
  return std::all_of(ops.begin(), ops.end(), [](const BoundOp& op) { return op.facts().graph_safe; });
}

Status StepPlan::capture(Stream& stream, const CaptureOptions& options) {
  captured = nullptr;
  RL_TRY(stream.begin_capture());
  const Status recorded = run(stream);
  auto made = stream.end_capture(options);
  if (!recorded) return recorded;
  if (!made) return std::move(made).error();
  captured = std::move(*made);
  return ok();
}

Bytes StepPlan::workspace() const {
  Bytes most;
  for (const BoundOp& op : ops) most = std::max(most, op.workspace_bytes);
  return most;
}

std::vector<std::string> StepPlan::path() const {
  std::set<std::string> lines;
  for (const BoundOp& op : ops)
    lines.insert(fmt::format("{}: {}{}", op.site, op.variant_name(), op.measured ? " (measured)" : ""));
  return {lines.begin(), lines.end()};
}

bool StepPlan::emulated() const {
  return std::any_of(ops.begin(), ops.end(), [](const BoundOp& op) { return op.emulated(); });
}

bool StepPlan::batch_invariant() const {
  return std::all_of(ops.begin(), ops.end(), [](const BoundOp& op) { return op.facts().batch_invariant; });
}

StepPlan* PlanCache::find(const StepBucket& bucket) {
  for (Entry& entry : entries_)
    if (entry.plan->bucket == bucket) {
      entry.used = ++clock_;
      return entry.plan.get();
    }
  return nullptr;
}

StepPlan* PlanCache::insert(StepPlan plan) {
  auto owned = std::make_unique<StepPlan>(std::move(plan));
  if (entries_.size() < capacity_) {
    entries_.push_back({.used = ++clock_, .plan = std::move(owned)});
    return entries_.back().plan.get();
  }
  Entry& oldest = *std::min_element(entries_.begin(), entries_.end(),
                                    [](const Entry& a, const Entry& b) { return a.used < b.used; });
  oldest = {.used = ++clock_, .plan = std::move(owned)};
  return oldest.plan.get();
}

}  // namespace rl::engine
