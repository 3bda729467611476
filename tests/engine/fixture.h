#pragma once
// Models of tests/data and models/demo with their golden values, and the backends to run them on.

#include <string>
#include <vector>

#include "check/result.h"
#include "cpu/fast/cpu_device.h"
#include "cpu/ref/ref.h"
#include "engine/engine.h"
#include "model/model.h"

namespace rl::engine {

inline std::string data_folder() { return REDLINE_SOURCE_DIR "/tests/data/models/"; }
inline std::string demo_folder() { return REDLINE_SOURCE_DIR "/models/demo"; }
inline std::string folder_of(const std::string& model) {
  return model == "demo" ? demo_folder() : data_folder() + model;
}

inline constexpr const char* kFixtureModels[] = {"llama2",  "llama3", "llama-linear", "llama-sharded",
                                                 "mistral", "qwen2",  "qwen3"};

// cpu/ref or cpu/fast on one device.
class TestBackend {
 public:
  explicit TestBackend(bool reference) : device_(cpu::make_device({})) {
    backend_.name = reference ? "ref" : "fast";
    backend_.device = device_.get();
    backend_.catalog = reference ? cpu::ref::catalog() : cpu::catalog();
  }
  const ops::Backend& operator*() const { return backend_; }
  Device& device() const { return *device_; }

 private:
  std::unique_ptr<Device> device_;
  ops::Backend backend_;
};

// The tensors of a golden.safetensors.
class Golden {
 public:
  static Result<Golden> open(const std::string& folder);
  bool has(const std::string& name) const { return source_->tensors().contains(name); }
  std::vector<TokenId> ids(const std::string& name) const;
  std::vector<float> floats(const std::string& name) const;

 private:
  template <class T>
  std::vector<T> all(const std::string& name) const;
  std::unique_ptr<FileSet> files_;
  std::unique_ptr<model::WeightSource> source_;
};

// fp32 tolerance of the logits (manifest.json; 1e-3 for the demo model) and the perplexity of `ppl.input_ids`.
double tolerance_of(const std::string& model);
double perplexity_of(const std::string& model);

Result<std::unique_ptr<Engine>> make_engine(const std::string& model, const ops::Backend& backend,
                                            const EngineOptions& options, MemoryResource& memory = host_memory());

// The tokens of each request, all submitted at once. Errors: the engine's, or a request that ended otherwise than by
// length or stop.
Result<std::vector<std::vector<TokenId>>> run_all(Engine& engine, const std::vector<Request>& requests);

// Largest |logit - golden|; infinite if any logit is not a number.
Result<double> largest_difference(Engine& engine, std::span<const TokenId> ids, std::span<const float> golden);

}  // namespace rl::engine
