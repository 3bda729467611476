#pragma once
// Chooses among the variants of a product by timing them: on the device, on the model's own weights, of as many layers
// as keep a cache from answering for the memory. What was found is kept by shape (ops/choices.h).

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "device/device.h"
#include "ops/catalog.h"
#include "ops/choices.h"

namespace rl::engine {

class VariantTuner {
 public:
  // All must outlive the tuner.
  VariantTuner(Device& device, Stream& stream, ops::Choices& choices)
      : device_(device), stream_(stream), choices_(choices) {}

  // What comes before the product in a step: how much of their time two kernels share depends on both
  // (docs/performance.md). It reads `input`, which is filled, and nothing of a step's own.
  struct Before {
    std::string name;
    std::function<Status(Stream&)> launch;
    TensorRef input;
  };

  // The fastest of `candidates` for calls[0], by what it adds to the op before it; all take each of the calls, which
  // are alike but for their weights. Inputs and outputs, those of the op before included, are overwritten where there
  // is nothing measured yet. Not inside a capture. Errors: the device's.
  Result<const ops::Variant<ops::LinearArgs>*> choose(
      const std::vector<const ops::Variant<ops::LinearArgs>*>& candidates, std::span<const ops::LinearArgs> calls,
      void* workspace, const std::optional<Before>& before = {});

 private:
  using Candidates = std::vector<const ops::Variant<ops::LinearArgs>*>;
  Result<ops::Choice> measure(const Candidates& candidates, std::span<const ops::LinearArgs> calls, void* workspace,
                              const std::optional<Before>& before);
  Status fill(const TensorRef& rows);
  Status fill_input(const ops::LinearArgs& args);

  Device& device_;
  Stream& stream_;
  ops::Choices& choices_;
};

// What a choice depends on, in words: "linear 1 x 4096 x 4096, bf16 x bf16 -> f32, adds, after ..., of skinny
// cublaslt".
std::string shape_of(const ops::LinearArgs& args, const std::vector<const ops::Variant<ops::LinearArgs>*>& candidates,
                     const std::optional<VariantTuner::Before>& before = {});

}  // namespace rl::engine
