// Experiment 3.1: what captured steps are worth. The same step plan launched kernel by kernel and captured once and
// replayed, on two engines that share their weights; equal tokens first, then decode steps A/B interleaved, over batch
// sizes and models of several sizes.

#include "engine/engine.h"
#include "experiments/list.h"
#include "lab/conclude.h"
#include "lab/engine_load.h"
#include "quality/consistency.h"

namespace rl::experiments {
namespace {

using lab::Estimate;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::int64_t kDepth = 128, kSmallBatch = 8;
constexpr const char* kGiven = "given";

const lab::Info& graphs_info() {
  static const lab::Info info{
      .id = "graphs",
      .title = "CUDA graphs",
      .plan = "3.1",
      .question = "How much latency do captured steps save, and where?",
      .baseline = "the same steps launched one kernel at a time",
      .expected = "10-30% less latency",
      .axes = {{"shape",
                "the model of the run, or one of drawn weights",
                {kGiven, "synthetic:llama-3.2-1b"},
                {kGiven, "synthetic:llama-3.2-1b", "synthetic:llama-3-8b"}},
               {"batch", "sequences decoded together", {"1", "8"}, {"1", "4", "8", "16", "64"}}},
      .hypotheses = {{.id = "graphs.latency",
                      .claim = "10-30% latency reduction for small batches",
                      .metric = "latency of a decode step, 1 - captured / launched",
                      .where = "batches of 1 to 8 sequences",
                      .expected = {0.1, 0.3}},
                     {.id = "graphs.many_small_kernels",
                      .claim = "Most effective for models with many small kernels",
                      .metric = "latency saved, smallest model / largest model",
                      .where = "one sequence; models of at least two sizes",
                      .expected = {1, kInfinity}}},
      .expected_quick = {10},
      .expected_full = {60}};
  return info;
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

  Status measure(lab::Context& context, const lab::Point& point, record::Experiment& record) override {
    const std::int64_t batch = point.number("batch");
    RL_ASSIGN(const model::ModelSource* source, source_of(context, point.text("shape")));
    if (loaded_ != source->name) engines_ = {};
    engine::EngineOptions options{.max_context = lab::DecodeLoad{.depth = kDepth, .seqs = batch}.context(),
                                  .max_seqs = batch,
                                  .step_tokens = std::max<std::int64_t>(batch, 512),
                                  .graphs = false,
                                  .prefix_reuse = false,
                                  .buckets = &engine::capture_buckets()};
    // Engines of another batch on weights that are there already.
    const std::unique_ptr<engine::Engine> weights = std::move(engines_[0]);
    engines_[1] = nullptr;
    const auto make = [&](const engine::Engine* beside) {
      return beside ? engine::Engine::make_beside(*beside, context.backend, context.memory, options)
                    : engine::Engine::make(*source, context.backend, context.memory, options);
    };
    RL_ASSIGN(engines_[0], make(weights.get()));
    options.graphs = true;
    RL_ASSIGN(engines_[1], make(engines_[0].get()));
    loaded_ = source->name;
    RL_TRY(same_tokens(batch, context.seed));

    const lab::DecodeLoad load{.depth = kDepth, .seqs = batch};
    RL_ASSIGN(const measure::PairResult pair,
              measure::run_pair(context.plan(), lab::decode_task(*engines_[0], load, context.seed, "launched"),
                                lab::decode_task(*engines_[1], load, context.seed, "captured")));
    add_row(record, point, "launched", *source, load, pair.a, *engines_[0]);
    add_row(record, point, "captured", *source, load, pair.b, *engines_[1]);
    record::Comparison comparison = pair.comparison;
    comparison.baseline = "launched, " + point.label();
    comparison.candidate = "captured, " + point.label();
    record.comparisons.push_back(comparison);
    return ok();
  }

  bool concludes_from_record() const override { return true; }

  Status conclude(lab::Context&, record::Experiment& record) override {
    std::vector<Estimate> small;
    std::map<double, Estimate> alone;  // by parameters
    for (const record::Comparison& comparison : record.comparisons) {
      const record::Row* const row = row_of(record, comparison.baseline);
      if (row == nullptr || row_of(record, comparison.candidate) == nullptr) continue;
      const double batch = std::stod(*lab::find_axis(*row, "batch"));
      const Estimate ratio{comparison.ratio, comparison.ci95};
      if (batch <= kSmallBatch) small.push_back(ratio);
      if (batch == 1) alone[lab::find_metric(*row, "parameters")->value] = saved(ratio);
    }
    std::optional<Estimate> latency;
    if (const auto mean = lab::geometric_mean(small)) latency = saved(*mean);
    lab::conclude_hypothesis(record, "graphs.latency", latency, "no valid point with 1 to 8 sequences");
    lab::conclude_hypothesis(record, "graphs.many_small_kernels", relative(alone),
                             alone.size() < 2 ? "a comparison needs models of two sizes"
                                              : "the largest model saves nothing beyond doubt: the ratio has no bound");
    record.outcome = lab::overall(record);
    if (latency) {
      const auto percent = [](double share) { return format_significant(100 * share, 2) + "%"; };
      record.measured = percent(latency->value) + " less latency";
      record.meaning = fmt::format(
          "Captured decode steps of 1 to 8 sequences take {} less time than launched ones (95% interval {} to {}).",
          percent(latency->value), percent(latency->interval.low), percent(latency->interval.high));
      record.advice = latency->interval.low > 0 ? "Leave captured steps on, which they are by default."
                                                : "Captured steps change nothing beyond doubt here.";
    } else {
      record.measured = "no valid point";
      record.meaning = "Nothing was measured: see the reasons of the rows.";
    }
    record.charts.push_back({.title = "Time of a decode step, one sequence",
                             .x = "shape",
                             .y = "step_time",
                             .series = "variant",
                             .where = {{"batch", "1"}}});
    engines_ = {};
    return ok();
  }

 private:
  // The share of the launched steps' time that captured ones save.
  static Estimate saved(const Estimate& ratio) {
    return {1 - 1 / ratio.value, {1 - 1 / ratio.interval.low, 1 - 1 / ratio.interval.high}};
  }

  // The smallest model's share over the largest's.
  static std::optional<Estimate> relative(const std::map<double, Estimate>& by_size) {
    if (by_size.size() < 2) return std::nullopt;
    const Estimate &small = by_size.begin()->second, &large = by_size.rbegin()->second;
    if (large.interval.low <= 0) return std::nullopt;
    return Estimate{small.value / large.value,
                    {small.interval.low / large.interval.high, small.interval.high / large.interval.low}};
  }

  static const record::Row* row_of(const record::Experiment& record, const std::string& label) {
    for (const record::Row& row : record.rows)
      if (row.validity.valid && lab::Point(row.axes).label() == "variant " + label) return &row;
    return nullptr;
  }

  Result<const model::ModelSource*> source_of(lab::Context& context, const std::string& name) {
    if (name == kGiven) return &context.model;
    if (!drawn_ || drawn_->name != name) {
      RL_ASSIGN(drawn_, model::find_model(name));
    }
    return &*drawn_;
  }

  // The gate: both engines give the same tokens, and the second has really captured.
  Status same_tokens(std::int64_t batch, std::uint64_t seed) {
    constexpr std::int64_t kTokens = 16;  // of each prompt, and generated from it
    std::vector<std::vector<TokenId>> prompts;
    for (engine::Request& request :
         lab::random_requests(batch, {.prompt = kTokens, .generated = kTokens}, engines_[0]->config().vocab, seed))
      prompts.push_back(std::move(request.prompt));
    RL_ASSIGN(const auto launched, quality::greedy(*engines_[0], prompts, kTokens, batch));
    RL_ASSIGN(const auto captured, quality::greedy(*engines_[1], prompts, kTokens, batch));
    if (launched != captured)
      return Error{.kind = ErrorKind::internal, .what = "captured steps give other tokens than launched ones"};
    if (engines_[0]->captured_steps() != 0 || engines_[1]->captured_steps() == 0)
      return Error{.kind = ErrorKind::internal, .what = "the engines do not differ in what they capture"};
    return ok();
  }

  static void add_row(record::Experiment& record, const lab::Point& point, const char* variant,
                      const model::ModelSource& source, const lab::DecodeLoad& load, const record::Metric& time,
                      const engine::Engine& engine) {
    record::Row row{.axes = point.values(), .path = engine.path()};
    row.axes.insert(row.axes.begin(), {"variant", variant});
    const double steps = static_cast<double>(load.steps);
    row.metrics.push_back(time);
    row.metrics.push_back(measure::scaled(time, "step_time", "s", 1 / steps));
    row.metrics.push_back(measure::rate_of(time, "decode_throughput", "tok/s", steps * static_cast<double>(load.seqs)));
    row.metrics.push_back({.name = "parameters",
                           .unit = "1",
                           .value = static_cast<double>(source.config.parameters()),
                           .statistic = "count"});
    row.note = "the same tokens from launched and captured steps; weights shared";
    record.rows.push_back(std::move(row));
  }

  std::optional<model::ModelSource> drawn_;
  std::string loaded_;                                      // the model of the engines
  std::array<std::unique_ptr<engine::Engine>, 2> engines_;  // launched, captured
};

}  // namespace

lab::Entry graphs() {
  return {.info = graphs_info(),
          .make = []() -> std::unique_ptr<lab::Experiment> { return std::make_unique<GraphsExperiment>(); }};
}

}  // namespace rl::experiments
