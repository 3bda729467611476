#pragma once
// Loads of one kind on an engine, as tasks for measure/: a prefill of n tokens, decode at a depth.

#include <cstdint>

#include "engine/engine.h"
#include "measure/measure.h"

namespace rl::lab {

// Token ids below the vocabulary's size, from seed and stream: random inputs that no two samples share.
std::vector<TokenId> random_ids(std::int64_t n, std::int64_t vocab, std::uint64_t seed, std::uint64_t stream = 0);

// A prefill of a new random prompt from an empty cache to its first sampled token, head and sampling included; the
// prompt is made outside the timed part. The engine must outlive the task.
measure::Task prefill_task(engine::Engine& engine, std::int64_t tokens, std::uint64_t seed, std::string name);

// Prefill throughput: n prompt tokens of one sequence from an empty cache to its first sampled token, head and sampling
// included. The metric is "prefill_throughput" in tok/s.
Result<record::Metric> measure_prefill(engine::Engine& engine, std::int64_t tokens, const measure::Plan& plan);

// What a decode measurement asks for: `seqs` sequences of `depth` tokens of context each, `steps` decode steps a
// sample.
struct DecodeLoad {
  std::int64_t depth = 0, seqs = 1, steps = 8;
  // Tokens the sequences may grow by before they are begun anew: a tenth of the depth, at least 32 and one sample with
  // the step that was queued ahead of it.
  std::int64_t drift() const;
  // Tokens that the first sequences get while the prompts of the last are still prefilled, kStepTokens to a step.
  std::int64_t lead() const;
  static constexpr std::int64_t kStepTokens = 512;  // the engine's standard; an engine with larger steps leads by less
  std::int64_t context() const;                     // tokens the engine must have room for, per sequence
};

// `load.steps` decode steps of sequences that were really prefilled, outside the timed part. The engine must outlive
// the task, which ends its sequences when it goes.
measure::Task decode_task(engine::Engine& engine, const DecodeLoad& load, std::uint64_t seed, std::string name);

// Decode throughput, tokens of all sequences together; the prompts are random and really prefilled, outside the timed
// part. The metric is "decode_throughput" in tok/s.
Result<record::Metric> measure_decode(engine::Engine& engine, const DecodeLoad& load, const measure::Plan& plan);

// Requests of one shape with random prompts, no two alike.
struct RequestShape {
  std::int64_t prompt = 0, generated = 0;
};
std::vector<engine::Request> random_requests(std::int64_t n, const RequestShape& shape, std::int64_t vocab,
                                             std::uint64_t seed);

// Submits all and steps until each has every token it asked for. The engine must be idle. Errors: those of
// loadgen::serve_timed, whose rules hold here.
Status serve_all(engine::Engine& engine, const std::vector<engine::Request>& requests);

// Operations of the matrix products of a prefill: two per weight of the layers and token, the head for one row.
// Attention's own products are left out, so a share computed from it is a lower bound.
double prefill_flops(const model::ModelConfig& config, std::int64_t tokens);

}  // namespace rl::lab
