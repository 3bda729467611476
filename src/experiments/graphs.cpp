// Experiment 3.1: what captured steps are worth. The same steps launched kernel by kernel, captured and replayed with
// plain edges, captured with programmatic edges, and that without a step ahead of the host, on engines that share their
// weights. Equal tokens first, then all variants in turns: decode over batch sizes and models of several sizes, the
// plan's own prefill, and prompts whose lengths vary.

#include "experiments/graphs.h"

#include "engine/engine.h"
#include "experiments/list.h"
#include "lab/engine_load.h"
#include "num/random.h"
#include "quality/consistency.h"

namespace rl::experiments {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::int64_t kDepth = 128;                                  // of decode
constexpr std::int64_t kPrompt = 512;                                 // the plan's own case
constexpr int kReplays = 100;                                         // of it
constexpr std::int64_t kShortest = 33, kLongest = 512, kPrompts = 8;  // of prompts of varying length, a sample
constexpr const char *kDecode = "decode", *kPrefill = "prefill", *kLengths = "lengths";

const lab::Info& graphs_info() {
  static const lab::Info info{
      .id = "graphs",
      .title = "CUDA graphs",
      .plan = "3.1",
      .question = "How much latency do captured steps save, and where?",
      .baseline = "the same steps launched one kernel at a time",
      .expected = "10-30% less latency",
      .axes = {{"load", "what is timed", {kDecode, kPrefill, kLengths}, {kDecode, kPrefill, kLengths}},
               {"shape",
                "the model of the run, or one of drawn weights",
                {record::kOwnModel, "synthetic:qwen3-0.6b"},
                {record::kOwnModel, "synthetic:qwen3-0.6b", "synthetic:llama-3.2-1b", "synthetic:llama-3-8b"},
                {},
                true},
               {"batch", "sequences decoded together", {"1", "8"}, {"1", "4", "8", "16", "64"}}},
      .hypotheses = {{.id = kLatency,
                      .claim = "10-30% latency reduction for small batches",
                      .metric = "latency of a decode step, 1 - captured / launched",
                      .where = "batches of 1 to 8 sequences",
                      .expected = {0.1, 0.3}},
                     {.id = kManySmallKernels,
                      .claim = "Most effective for models with many small kernels",
                      .metric = "latency saved, smallest model / largest model",
                      .where = "one sequence; models of at least two sizes",
                      .expected = {1, kInfinity}},
                     {.id = kDynamicShapes,
                      .claim = "No benefit for dynamic shapes",
                      .metric = "time of prompts of varying length, captured in padded shapes / launched",
                      .where = "prompts of 33 to 512 tokens, one after the other",
                      .expected = {0.98, kInfinity}}},
      .expected_quick = {20},
      .expected_full = {60},
      .expected_gpu = {86},
      .runs_model = false};  // its engines hold their own weights
  return info;
}

// How the steps of a row are run. The first of a load is what the others are compared with.
struct Way {
  const char* variant;
  bool graphs = true, programmatic = true, ahead = true;
  const engine::BucketPolicy& (*buckets)() = engine::capture_buckets;
  int capture_after = 1;
};
constexpr Way kFixedShapes[] = {{.variant = kLaunched, .graphs = false},
                                {.variant = kPlain, .programmatic = false},
                                {.variant = kCaptured},
                                {.variant = kInStep, .ahead = false}};
constexpr Way kVaryingShapes[] = {{.variant = kLaunched, .graphs = false, .buckets = engine::exact_buckets},
                                  {.variant = kPadded},
                                  {.variant = kAnew, .buckets = engine::exact_buckets, .capture_after = 0}};

// Prompts one after the other, each of a length that has not come for the last few hundred prompts.
measure::Task lengths_task(engine::Engine& engine, std::uint64_t seed, std::string name) {
  struct State {
    std::uint64_t seed;
    std::int64_t at = 0;
    std::vector<engine::Request> next;
  };
  const auto state = std::make_shared<State>(State{.seed = seed, .next = {}});
  return {.name = std::move(name),
          .run = [&engine, state]() -> Status {
            for (const engine::Request& request : state->next) RL_TRY(lab::serve_all(engine, {request}));
            return ok();
          },
          .prepare =
              [&engine, state] {
                state->next.clear();
                for (std::int64_t i = 0; i < kPrompts; ++i)
                  state->next.push_back(
                      {.prompt = lab::random_ids(length_at(state->at++), engine.config().vocab, state->seed++),
                       .max_tokens = 1});
                return ok();
              }};
}

class GraphsExperiment final : public lab::Experiment {
 public:
  const lab::Info& info() const override { return graphs_info(); }

  Status available(const lab::Context& context) const override {
    if (context.backend.device->can_capture()) return ok();
    return Error{.kind = ErrorKind::unsupported,
                 .what = fmt::format("the {} backend has no launches to capture", context.backend.name),
                 .hint = "use a machine with an NVIDIA GPU and a build with CUDA; on a CPU there is nothing to gain"};
  }

  // All batches of the run's own model; of the others the ends, one sequence alone above all.
  bool wanted(const lab::Point& point, const lab::Context& context) const override {
    const std::int64_t batch = point.number("batch");
    if (point.text("load") != kDecode)
      return batch == 1 &&
             (point.text("shape") == record::kOwnModel || (context.full() && point.text("load") == kPrefill));
    return !context.full() || point.text("shape") == record::kOwnModel || batch == 1 || batch == 8 || batch == 64;
  }

  Status measure(lab::Context& context, const lab::Point& point, record::Experiment& record) override {
    const std::int64_t batch = point.number("batch");
    const std::string& load = point.text("load");
    const lab::DecodeLoad decode{.depth = kDepth, .seqs = batch};
    if (load != kDecode && batch != 1)
      return Error{.kind = ErrorKind::usage,
                   .what = fmt::format("the load {} is of one sequence", load),
                   .field = "--batch",
                   .expected = "1",
                   .found = std::to_string(batch)};
    RL_ASSIGN(const model::ModelSource* source, source_of(context, point.text("shape")));
    // The same model under two names is measured once.
    if (point.text("shape") != record::kOwnModel && source->name == context.model.name) return ok();
    if (loaded_ != source->name) engines_.clear();
    const std::span<const Way> ways = load == kLengths ? std::span<const Way>(kVaryingShapes) : kFixedShapes;
    const std::int64_t context_tokens = load == kDecode ? decode.context() : kPrompt + kGateTokens + 1;
    RL_TRY(make_engines(context, *source, ways, batch, context_tokens));
    RL_TRY(load == kLengths ? same_tokens_of_lengths(context, *source, context_tokens)
                            : same_tokens(ways, batch, load == kDecode ? kGateTokens : kPrompt, context.seed));

    std::vector<measure::Task> tasks;
    measure::Plan plan = context.plan();
    plan.timeout = load == kLengths ? context.time({3}, {3}, {3})  // capturing eight lengths anew takes about a second
                                    : context.time({0.6}, {0.8}, {0.8});
    plan.min_time = context.time({0.05}, {0.2}, {0.2});
    for (std::size_t i = 0; i < ways.size(); ++i) {
      engine::Engine& engine = *engines_[i];
      if (load == kDecode) tasks.push_back(lab::decode_task(engine, decode, context.seed, ways[i].variant));
      if (load == kPrefill) tasks.push_back(lab::prefill_task(engine, kPrompt, context.seed, ways[i].variant));
      if (load == kLengths) tasks.push_back(lengths_task(engine, context.seed, ways[i].variant));
    }
    if (load == kPrefill && context.full() && context.effort >= 1) {
      plan.min_samples = plan.max_samples = kReplays;
      plan.timeout = {10};
    }
    std::vector<engine::HostCost> before;
    for (const auto& engine : engines_) before.push_back(engine->host_cost());
    RL_ASSIGN(const measure::GroupResult group, measure::run_group(plan, tasks));
    const double per_sample = load == kDecode ? static_cast<double>(decode.steps) : load == kLengths ? kPrompts : 1;
    for (std::size_t i = 0; i < ways.size(); ++i)
      add_row(record, point, ways[i], *source, group.times[i], per_sample, before[i], *engines_[i]);
    for (std::size_t i = 1; i < ways.size(); ++i) {
      record::Comparison comparison = group.compare(0, i);
      comparison.baseline = label_of(ways[0].variant, point);
      comparison.candidate = label_of(ways[i].variant, point);
      record.comparisons.push_back(comparison);
    }
    return ok();
  }

  bool concludes_from_record() const override { return true; }

  Status conclude(lab::Context&, record::Experiment& record) override {
    conclude_graphs(record);
    engines_.clear();
    return ok();
  }

 private:
  static constexpr std::int64_t kGateTokens = 16;  // of each prompt, and generated from it

  static std::string label_of(const char* variant, const lab::Point& point) {
    return fmt::format("{}, {}", variant, point.label());
  }

  static engine::EngineOptions options_of(const Way& way, std::int64_t batch, std::int64_t context_tokens) {
    return {.max_context = context_tokens,
            .max_seqs = batch,
            .step_tokens = std::max<std::int64_t>(batch, kPrompt),
            .graphs = way.graphs,
            .capture_after = way.capture_after,
            .programmatic = way.programmatic,
            .run_ahead = way.ahead,
            .prefix_reuse = false,
            .buckets = &way.buckets()};
  }

  // On the weights that are there already, if there are any.
  Status make_engines(lab::Context& context, const model::ModelSource& source, std::span<const Way> ways,
                      std::int64_t batch, std::int64_t context_tokens) {
    std::unique_ptr<engine::Engine> weights;
    if (!engines_.empty()) weights = std::move(engines_[0]);
    engines_.clear();
    for (const Way& way : ways) {
      const engine::EngineOptions options = options_of(way, batch, context_tokens);
      const engine::Engine* const beside = engines_.empty() ? weights.get() : engines_[0].get();
      auto made = beside ? engine::Engine::make_beside(*beside, context.backend, context.memory, options)
                         : engine::Engine::make(source, context.backend, context.memory, options);
      if (!made) {
        if (engines_.empty() && weights) engines_.push_back(std::move(weights));
        return std::move(made).error();
      }
      engines_.push_back(std::move(*made));
    }
    loaded_ = source.name;
    return ok();
  }

  Result<const model::ModelSource*> source_of(lab::Context& context, const std::string& name) {
    if (name == record::kOwnModel) return &context.model;
    if (!drawn_ || drawn_->name != name) {
      RL_ASSIGN(drawn_, model::find_model(name));
    }
    return &*drawn_;
  }

  static std::vector<std::vector<TokenId>> prompts_of(std::span<const std::int64_t> lengths, std::int64_t vocab,
                                                      std::uint64_t seed) {
    std::vector<std::vector<TokenId>> prompts;
    for (const std::int64_t length : lengths)
      prompts.push_back(lab::random_ids(length, vocab, seed, prompts.size() + 1));
    return prompts;
  }

  // The gate: all engines give the same tokens, and those that capture have really captured.
  Status same_tokens(std::span<const Way> ways, std::int64_t batch, std::int64_t prompt, std::uint64_t seed) {
    const std::vector<std::int64_t> lengths(static_cast<std::size_t>(batch), prompt);
    const auto prompts = prompts_of(lengths, engines_[0]->config().vocab, seed);
    std::vector<std::vector<TokenId>> expected;
    for (std::size_t i = 0; i < ways.size(); ++i) {
      // Twice, so that the prompt's shape comes again and is captured as well.
      for (int round = 0; round < 2; ++round) {
        RL_ASSIGN(auto tokens, quality::greedy(*engines_[i], prompts, kGateTokens, batch));
        if (expected.empty()) expected = tokens;
        RL_TRY(equal(expected, tokens, ways[i].variant));
      }
      RL_TRY(captured(*engines_[i], ways[i]));
    }
    return ok();
  }

  // A padded step may round otherwise than an exact one: each way is compared with launches of its own shapes.
  Status same_tokens_of_lengths(lab::Context& context, const model::ModelSource&, std::int64_t context_tokens) {
    std::vector<std::int64_t> lengths;
    for (std::int64_t n = 64; n <= kLongest; n += 64) lengths.push_back(n - 7);
    const auto prompts = prompts_of(lengths, engines_[0]->config().vocab, context.seed);
    for (std::size_t i = 1; i < std::size(kVaryingShapes); ++i) {
      Way launched = kVaryingShapes[i];
      launched.graphs = false;
      RL_ASSIGN(const auto plain, engine::Engine::make_beside(*engines_[0], context.backend, context.memory,
                                                              options_of(launched, 1, context_tokens)));
      // What runs first is launched, so that no capture has to load a kernel.
      RL_ASSIGN(const auto expected, quality::greedy(*plain, prompts, kGateTokens, 1));
      for (int round = 0; round < 2; ++round) {
        RL_ASSIGN(const auto tokens, quality::greedy(*engines_[i], prompts, kGateTokens, 1));
        RL_TRY(equal(expected, tokens, kVaryingShapes[i].variant));
      }
      RL_TRY(captured(*engines_[i], kVaryingShapes[i]));
    }
    return ok();
  }

  static Status equal(const std::vector<std::vector<TokenId>>& expected, const std::vector<std::vector<TokenId>>& found,
                      const char* variant) {
    if (found == expected) return ok();
    return Error{.kind = ErrorKind::internal,
                 .what = fmt::format("steps run as '{}' give other tokens than launched ones", variant),
                 .rule = "graphs.tokens"};
  }
  static Status captured(const engine::Engine& engine, const Way& way) {
    if ((engine.captured_steps() > 0) == way.graphs) return ok();
    return Error{.kind = ErrorKind::internal, .what = "the engines do not differ in what they capture"};
  }

  void add_row(record::Experiment& record, const lab::Point& point, const Way& way, const model::ModelSource& source,
               const record::Metric& time, double per_sample, const engine::HostCost& before,
               const engine::Engine& engine) {
    record::Row row{.axes = point.values(), .path = engine.path()};
    row.axes.insert(row.axes.begin(), {"variant", way.variant});
    row.metrics.push_back(time);
    row.metrics.push_back(measure::scaled(time, "step_time", "s", 1 / per_sample));
    if (point.text("load") == kDecode)
      row.metrics.push_back(measure::rate_of(time, "decode_throughput", "tok/s",
                                             per_sample * static_cast<double>(point.number("batch"))));
    const auto count = [&](const char* name, const char* unit, double value) {
      row.metrics.push_back(
          {.name = name, .unit = unit, .better = record::Better::lower, .value = value, .statistic = "count"});
    };
    const engine::HostCost& after = engine.host_cost();
    const auto cost = [&](const char* name, const char* statistic, Seconds value) {
      row.metrics.push_back(
          {.name = name, .unit = "s", .better = record::Better::lower, .value = value.count, .statistic = statistic});
    };
    using engine::kLeastTenth, engine::kMedian;
    cost("host_plan_per_step", "median over steps", engine::plan_cost_per_step(before, after, kMedian));
    cost("host_launch_per_step", "median over steps", engine::launch_cost_per_step(before, after, kMedian));
    cost("host_launch_least_tenth", "10% quantile over steps", launch_cost_per_step(before, after, kLeastTenth));
    if (way.graphs) {
      const auto captures = static_cast<double>(after.captures);
      count("captures", "1", captures);
      count("capture_time", "s", after.capture.count / captures);
      count("capture_memory", "B", static_cast<double>(after.capture_memory.count) / captures);
    }
    count("parameters", "1", static_cast<double>(source.config.parameters()));
    row.note =
        "the same tokens from all variants; weights shared; host times are of the row's steps, those of starting one "
        "of its captured steps if it has any";
    record.rows.push_back(std::move(row));
  }

  std::optional<model::ModelSource> drawn_;
  std::string loaded_;                                    // the model of the engines
  std::vector<std::unique_ptr<engine::Engine>> engines_;  // of the ways of the point
};

}  // namespace

// 33 .. 512 in an order that jumps about: a multiplicative walk over all of them.
std::int64_t length_at(std::int64_t i) { return kShortest + i * 173 % (kLongest - kShortest + 1); }

lab::Entry graphs() {
  return {.info = graphs_info(),
          .make = []() -> std::unique_ptr<lab::Experiment> { return std::make_unique<GraphsExperiment>(); }};
}

}  // namespace rl::experiments
