#pragma once
// The binder turns the sites of a forward pass into a plan of bound ops for a bucket: it lowers each site to ops,
// chooses a variant for each, and fixes addresses.

#include <map>
#include <string>
#include <vector>

#include "engine/step_inputs.h"
#include "engine/step_plan.h"
#include "engine/variant_tuner.h"
#include "model/forward/forward.h"
#include "ops/catalog.h"

namespace rl::engine {

// The addresses every plan of an engine is bound to.
struct StepMemory {
  std::vector<void*> values;  // of Forward::values, the logits among them
  StepAddresses step;
  std::vector<ops::KvPages> kv;  // by layer
  TensorRef cos, sin;            // rope tables
  void* workspace = nullptr;
  Bytes workspace_bytes;
};

// What a value of this many rows needs: as numbers, or as codes with scales for the product that reads it.
Bytes value_bytes(const model::Value& value, std::int64_t rows, DType activation);

class Binder {
 public:
  // force: op -> variant name. Errors: usage for an op that does not exist.
  static Result<Binder> make(const ops::Catalog& catalog, const Arch& arch, DType activation, const StepLimits& limits,
                             std::map<std::string, std::string> force);

  // Products that no variant is forced for leave room for any that a tuner could choose.
  void expect_tuner() { tuned_ = true; }

  // tuner: times the variants of products whose shape is new to it; what lies in values is lost then. Null: the order
  // of the lists decides. Errors: usage for an unknown forced variant; unsupported where no variant (or not the forced
  // one) can; internal if an op needs more workspace than was planned; the device's.
  Result<StepPlan> bind(const model::Forward& forward, const StepBucket& bucket, const StepMemory& memory,
                        VariantTuner* tuner = nullptr) const;

 private:
  struct Step;  // one bind in progress
  Binder() = default;
  std::string_view forced(const char* op) const;

  ops::Catalog catalog_;
  Arch arch_;
  DType activation_ = DType::bf16;
  StepLimits limits_;
  std::map<std::string, std::string> force_;
  bool tuned_ = false;
};

}  // namespace rl::engine
