#pragma once
// What an engine decides before it takes memory: the layout of the weights, the workspace, where values lie, how many
// pages the cache has.

#include "device/allocators/lifetime_plan.h"
#include "engine/binder.h"
#include "engine/engine.h"
#include "engine/memory_plan.h"

namespace rl::engine {

struct Setup {
  EngineOptions options;  // with defaults filled in
  StepLimits limits;
  DType activation = DType::bf16, cache = DType::bf16;
  quant::ModelFormat format;
  quant::Layout layout = quant::Layout::row_major;  // the first of the backend's that every site's variant reads
  alloc::LifetimePlan activations;
  Bytes workspace;
  std::int64_t pages = 0;      // for sequences
  std::int64_t all_pages = 0;  // and one for padding, if the bucket policy pads
  Bytes kv_tensor;             // K or V of one layer
  MemoryPlan plan;
};

// weights_are_there: another engine's are used, and take nothing. Errors: usage for options out of range; unsupported
// where a site has no variant.
Result<Setup> plan_setup(const model::ModelConfig& config, const ops::Backend& backend, const Binder& binder,
                         const EngineOptions& options, bool weights_are_there = false);

// A page of K and V of all layers.
Bytes page_bytes(const model::ModelConfig& config, const EngineOptions& options);

// The options with defaults filled in, checked. Errors: usage.
Result<EngineOptions> complete_options(const EngineOptions& options, const model::ModelConfig& config,
                                       const Device& device);
StepLimits step_limits(const EngineOptions& options, const model::ModelConfig& config);
DType activation_type(Precision precision);
DType cache_type(const EngineOptions& options);

// K and V pages of each layer in a block of 2 * layers * setup.kv_tensor bytes.
std::vector<ops::KvPages> kv_tensors(const Setup& setup, const model::ModelConfig& config, void* block);

}  // namespace rl::engine
