#pragma once
// Engine: one model on one device, many requests. Each step takes the tokens the scheduler chose (decode tokens of
// running sequences, chunks of prompts), runs the bound step plan on them, and hands out the sampled tokens.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/units.h"
#include "engine/memory_plan.h"
#include "engine/request.h"
#include "engine/step_plan.h"
#include "engine/time_histogram.h"
#include "model/model.h"
#include "ops/catalog.h"

namespace rl::engine {

enum class Precision { f32, bf16, f16 };  // of activations; the residual stream and logits are f32 in all

const char* name_of(Precision precision);  // "fp32", "bf16", "fp16"

// What a model computes in, by the name users know.
struct NumberFormat {
  std::string name = "bf16";
  Precision precision = Precision::bf16;
  quant::ModelFormat weights;
};
std::span<const NumberFormat> formats();                  // all there are
std::string format_names();                               // "bf16, fp16, ..."
Result<NumberFormat> format_from(std::string_view name);  // errors: usage

// What keys and values are kept in, by vLLM's names: "auto" is the precision of the activations, "fp8" e4m3.
enum class KvCacheType { automatic, fp8 };
const char* name_of(KvCacheType type);                          // "auto", "fp8"
Result<KvCacheType> kv_cache_type_from(std::string_view name);  // errors: usage

inline constexpr std::int64_t kMostSeqs = 4096;  // that an engine takes into one step

struct EngineOptions {
  Precision precision = Precision::bf16;
  std::optional<quant::ModelFormat> weights;  // none: those of the precision
  KvCacheType kv_cache = KvCacheType::automatic;
  std::int64_t max_context = 0;  // tokens of the longest sequence; 0: the model's, at most 4096
  std::int64_t max_seqs = 16;    // sequences in one step
  // Tokens in one step, at least max_seqs; longer prompts are prefilled in chunks. 0: 512, and 2048 where steps are
  // captured: a GPU needs more of them to be busy.
  std::int64_t step_tokens = 0;
  Bytes kv_memory{0};        // for KV pages; 0: enough for max_seqs x max_context, at most half of what is available
  bool graphs = true;        // steps of a shape that comes again are captured, where the device can
  int capture_after = 1;     // launched steps of a shape before it is captured; 0 needs kernels that have run before
  bool programmatic = true;  // kernels of captured steps may begin while their predecessor ends; false: after it
  // The next step is queued before the tokens of this one are read, where streams are queues: the device never waits
  // for the host. A sequence that its stop token ends then costs a row of one more step.
  bool run_ahead = true;
  bool prefix_reuse = true;  // requests with equal leading tokens share their cache; a measurement turns it off
  std::map<std::string, std::string> force;  // op -> variant name; "attention" -> "attention/cpu.flash"
  std::function<void(Bytes done, Bytes all)> load_progress;
  const BucketPolicy* buckets = nullptr;  // null: capture_buckets() with graphs, else exact_buckets()
};

// What steps cost the host, since the engine was made.
struct HostCost {
  std::int64_t steps = 0;
  Seconds launch;  // writing the inputs, starting the step, recording its event; not binding its plan, nor any waiting
  // Of those steps, started as one captured list, and their part of `launch`.
  std::int64_t replays = 0;
  Seconds replay;
  TimeHistogram launch_times, replay_times;  // of the same steps, one by one
  TimeHistogram plan_times;                  // choosing the sequences of a step, and taking what the one before it drew
  // Of captures: the shapes, their time, and what the device's free memory says they took (its granularity is MiB).
  std::int64_t captures = 0;
  Seconds capture;
  Bytes capture_memory;
};

// What planning a step and what starting one cost between two looks, at least one step apart: what `share` of the steps
// do not exceed. Starting is that of captured steps, if there were any: a prompt's first step, launched, costs as much
// as hundreds of them. The median is what a user pays; the least tenth is what the program takes where nothing else on
// the machine slows its processor.
Seconds plan_cost_per_step(const HostCost& before, const HostCost& after, double share);
Seconds launch_cost_per_step(const HostCost& before, const HostCost& after, double share);

// Not thread-safe: one thread submits, cancels and steps.
class Engine {
 public:
  // Plans the memory, then loads the weights from `source`, which is not needed afterwards. The device, its catalog and
  // `memory` must outlive the engine. Errors: those of loading; usage for options out of range or an unknown forced
  // variant; unsupported; out_of_memory with the plan's table.
  static Result<std::unique_ptr<Engine>> make(const model::ModelSource& source, const ops::Backend& backend,
                                              MemoryResource& memory, const EngineOptions& options);
  // Another engine on the weights of `first`, which they share and neither copies; each may be stepped by a thread of
  // its own. The backend is of the same kind as first's, mostly with a share of its device (Device::make_share).
  // Errors: those of make; usage if the options need the weights in another format or layout.
  static Result<std::unique_ptr<Engine>> make_beside(const Engine& first, const ops::Backend& backend,
                                                     MemoryResource& memory, const EngineOptions& options);
  ~Engine();

  // Queues a request. Errors: invalid_input for ids outside the vocabulary, an empty prompt, parameters out of range, a
  // prompt that fills the context, or a request that can never fit.
  Result<RequestId> submit(Request request);
  void cancel(RequestId id);  // takes effect before the next step
  bool idle() const;          // nothing running, nothing waiting

  // Runs one step and returns what it produced, in the order of the batch; with run_ahead the next one is queued by
  // then, so that a request submitted or cancelled now takes part, or no part, in the step after it. Errors: device
  // faults; a request's own failure (NaN logits) ends that request with FinishReason::error instead.
  Result<std::vector<TokenEvent>> step();
  // Waits for a step that was queued ahead and returns what it produced: afterwards nothing runs on the device.
  Result<std::vector<TokenEvent>> settle();

  // Logits of all positions of one sequence, from an empty cache, in chunks: calls sink(first_row, logits f32 [n,
  // vocab] in host memory) in order. chunk: tokens of each; 0: as many as there is room for. Chunks of one token are
  // decode steps. The engine must be idle. Errors: invalid_input (ids, length), the sink's, device faults.
  Status score(std::span<const TokenId> ids,
               const std::function<Status(std::int64_t first_row, const TensorRef& logits)>& sink,
               std::int64_t chunk = 0);

  // The residual stream of one sequence, from an empty cache: calls sink(layer, hidden f32 [n, hidden] in host memory)
  // for the embedding (layer -1) and after each layer. The engine must be idle. Errors: invalid_input (ids, more than
  // options().step_tokens of them), the sink's, device faults.
  Status residuals(std::span<const TokenId> ids, const std::function<Status(int layer, const TensorRef& hidden)>& sink);

  const model::ModelConfig& config() const;
  const EngineOptions& options() const;  // with defaults filled in
  const MemoryPlan& memory_plan() const;
  // Whether a format is computed without instructions made for it: its speed says nothing about the format.
  bool emulated() const;
  bool synthetic() const;                // the weights are generated: no output of this model means anything
  Bytes loaded_bytes() const;            // of weights as stored, read when the first engine on them was made
  Seconds load_time() const;             // that it took, with packing and the way to the device
  Bytes weight_bytes_per_token() const;  // that a decode step reads
  Bytes kv_bytes_per_token() const;      // of one token of context, all layers
  // The variants of the plans bound so far, "site: variant", sorted: the path certificate.
  std::vector<std::string> path() const;
  // Whether every variant of the plans bound so far gives a row the same bits whatever the batch holds.
  bool batch_invariant() const;
  std::int64_t captured_steps() const;  // so far: shapes of steps that run as one launch
  const HostCost& host_cost() const;
  std::int64_t synchronizations() const;  // so far: the host waited for the stream to be empty
  std::int64_t dead_rows() const;         // so far: drawn for sequences that had ended
  // The captured decode step of this many sequences, if there is one: for tests of what it consists of.
  const CapturedStep* captured_decode(std::int64_t seqs) const;
  std::int64_t preemptions() const;    // so far: sequences that gave up their pages and were computed again
  std::int64_t reused_tokens() const;  // so far: tokens of prompts that were found in the cache instead of computed

 private:
  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace rl::engine
