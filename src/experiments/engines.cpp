// Experiment 5.1: this engine's own row, in the terms in which the others would be measured. Driving the others is not
// built yet: the verdict is skipped, with the reason.

#include "experiments/list.h"
#include "lab/conclude.h"
#include "lab/engine_load.h"

namespace rl::experiments {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::int64_t kPrompt = 512;
constexpr lab::DecodeLoad kDecode{.depth = 128, .seqs = 1, .steps = 16};

const lab::Info& engines_info() {
  static const lab::Info info{
      .id = "engines",
      .title = "Other engines",
      .plan = "5.1",
      .question = "How do vLLM, TensorRT-LLM and llama.cpp compare on this machine?",
      .baseline = "this engine with the same model, format, prompts and number of tokens",
      .expected = "",
      .axes = {{"engine", "whose speed; of the others none is driven yet", {"redline"}, {"redline"}}},
      .hypotheses = {{.id = "engines.throughput",
                      .claim = "Compare inference engines for deployment",
                      .metric = "throughput at the same latency, best other engine / this engine",
                      .where = "vLLM, TensorRT-LLM, llama.cpp; each that is installed",
                      .expected = {1, kInfinity}}},
      .expected_quick = {2},
      .expected_full = {10}};
  return info;
}

class EnginesExperiment final : public lab::Experiment {
 public:
  const lab::Info& info() const override { return engines_info(); }

  Status begin(lab::Context& context, record::Experiment& record) override {
    on_cpu_ = context.backend.device->info().arch.family == Arch::Family::cpu;
    record.notes.push_back(fmt::format(
        "This engine's row: prefill of {} tokens from an empty cache, its first token sampled; decode of one "
        "sequence at a depth of {} tokens. The model's 16-bit format, random prompts.",
        kPrompt, kDecode.depth));
    return ok();
  }

  Status measure(lab::Context& context, const lab::Point& point, record::Experiment& record) override {
    const engine::EngineOptions options{
        .max_context = std::max(kPrompt + 1, kDecode.context()), .max_seqs = kDecode.seqs, .prefix_reuse = false};
    RL_ASSIGN(const bool fits, context.has_room("", "this engine's row", options.max_context, record));
    if (!fits) return ok();
    RL_ASSIGN(const std::unique_ptr<engine::Engine> engine, context.engine(options));
    RL_ASSIGN(record::Metric prefill, lab::measure_prefill(*engine, kPrompt, context.plan()));
    RL_ASSIGN(record::Metric decode, lab::measure_decode(*engine, kDecode, context.plan()));
    record.rows.push_back({.axes = point.values(),
                           .metrics = {std::move(prefill), std::move(decode)},
                           .path = engine->path(),
                           .note = {}});
    return ok();
  }

  Status conclude(lab::Context&, record::Experiment& record) override {
    const std::string reason =
        fmt::format("driving other engines is not built yet; it would run {} here",
                    on_cpu_ ? "llama.cpp (vLLM and TensorRT-LLM need a GPU)" : "vLLM, TensorRT-LLM and llama.cpp");
    record.state = record::State::skipped;
    record.outcome = record::Outcome::skipped;
    record.reasons = {reason};
    record.remedy = "compare llama.cpp's CPU rates by hand: `tools/bench/peer` prints them beside ours";
    for (record::Hypothesis& hypothesis : record.hypotheses) {
      hypothesis.outcome = record::Outcome::skipped;
      hypothesis.reason = reason;
    }
    for (const record::Row& row : record.rows) {
      const record::Metric* const prefill = lab::find_metric(row, "prefill_throughput");
      const record::Metric* const decode = lab::find_metric(row, "decode_throughput");
      if (!row.validity.valid || prefill == nullptr || decode == nullptr) continue;
      record.meaning = fmt::format("This engine alone: prefill {} tok/s, decode of one sequence {} tok/s.",
                                   format_significant(prefill->value), format_significant(decode->value));
    }
    return ok();
  }

 private:
  bool on_cpu_ = true;
};

}  // namespace

lab::Entry engines() {
  return {.info = engines_info(),
          .make = []() -> std::unique_ptr<lab::Experiment> { return std::make_unique<EnginesExperiment>(); }};
}

}  // namespace rl::experiments
