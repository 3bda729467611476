#pragma once
// The parts of the batching experiment that are measured: an engine served in a way, checked, as rows of a record.

#include "engine/engine.h"
#include "lab/experiment.h"
#include "loadgen/arrivals.h"
#include "loadgen/latency.h"
#include "loadgen/serve.h"

namespace rl::experiments {

struct BatchingWay {
  const char* name;
  loadgen::Policy policy;
};
inline constexpr BatchingWay kBatchingWays[] = {{"one at a time", loadgen::Policy::one_at_a_time},
                                                {"static batch", loadgen::Policy::static_batch},
                                                {"continuous", loadgen::Policy::continuous}};
inline constexpr std::size_t kOneAtATime = 0, kStaticBatch = 1, kContinuous = 2;

// Tokens that all of them ask for.
double output_tokens(std::span<const loadgen::Arrival> arrivals);
// `n` of the requests, spread evenly over the number of tokens they ask for: each is the middle one of an n-th of them.
std::vector<loadgen::Arrival> spread_by_length(std::span<const loadgen::Arrival> arrivals, std::size_t n);

// The gate: every way generates the same tokens for every request where the engine's variants promise that a row's bits
// do not depend on its batch. Where they do not, the note says how many requests differ. Errors: internal with rule
// "batching.gate".
Result<std::string> compare_batching_tokens(engine::Engine& engine, std::span<const loadgen::Arrival> arrivals,
                                            std::int64_t seqs);

// A load of Poisson arrivals: `per_second` requests a second for `requests` of them.
struct PoissonLoad {
  double per_second = 0;
  std::int64_t requests = 0;
  loadgen::Lengths lengths;
  loadgen::Slo slo;
  std::uint64_t seed = 1;  // of the run: the same requests at every rate, and intervals that can be computed again
};
// A row without axes: TTFT, TPOT, ITL and end-to-end percentiles of the requests after the first tenth of the time,
// goodput, what was offered and served. Invalid if the client was the bottleneck.
Result<record::Row> measure_poisson(engine::Engine& engine, const PoissonLoad& load);

// How many sequences of `tokens` tokens fit `memory` beside the `weights` that `engine` is on: predicted from the plan,
// then tried with that many and with one more, under an allocator that refuses what is over the limit. A row without
// axes; invalid if the prediction is not what the allocator counts.
Result<record::Row> try_largest_batch(const lab::Context& context, const engine::Engine& engine, Bytes weights,
                                      std::int64_t tokens, Bytes memory);

}  // namespace rl::experiments
