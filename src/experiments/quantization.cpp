// Experiment 2.1: what each number format saves, and what it costs in quality.
//
// Every format is an engine of its own beside the baseline's. Bytes are the memory plan's and the allocator's; quality
// is measured in lockstep with the baseline on a text, of the run's model or, where that has drawn weights, of a
// trained one in its place; time, of a 512-token prefill and of decode, only where the arithmetic runs on instructions
// made for the format: the speed of an emulated one would say nothing. On a GPU a full run times published shapes too.

#include "experiments/list.h"
#include "experiments/quantization_conclude.h"
#include "lab/conclude.h"
#include "lab/engine_load.h"
#include "quality/assess.h"

namespace rl::experiments {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::int64_t kPromptTokens = 512;  // the plan's input
constexpr lab::DecodeLoad kDecode{.depth = kPromptTokens, .seqs = 1, .steps = 8};
constexpr std::int64_t kGpuQualityTokens = 16384;
constexpr const char* kLargeShape = "synthetic:llama-3-8b";

constexpr const char* kSpeedWhere = "Llama-2-7B's shape, the plan's, where it was measured; else the run's model";

const lab::Info& quantization_info() {
  static const std::vector<std::string> formats = {"bf16",      "fp16", "fp32",    "fp8",   "fp8-tensor",
                                                   "fp8-block", "int8", "int8-wo", "fp8-wo"};
  static const lab::Info info{
      .id = "quantization",
      .title = "FP8, INT8 and 16-bit formats",
      .plan = "2.1",
      .question = "What does each number format save, and what does it cost in quality?",
      .baseline = "16-bit weights and activations: bf16, for speed on a GPU fp16",
      .expected = "FP8 1.5-2x, INT8 2-3x",
      .axes = {{"shape",
                "the model of the run, or a published shape with drawn weights",
                {record::kOwnModel},
                {record::kOwnModel},
                {record::kOwnModel, kPlanShape, kLargeShape},
                true},
               {"format", "of weights and, without -wo, of activations", formats, formats}},
      .hypotheses = {{.id = "quantization.fp8_speed",
                      .claim = "FP8: approximately 1.5-2 times faster than FP16",
                      .metric = "time of a 512-token prefill, 16 bits / fp8",
                      .where = kSpeedWhere,
                      .expected = {1.5, 2}},
                     {.id = "quantization.int8_speed",
                      .claim = "INT8: approximately 2-3 times faster",
                      .metric = "time of a 512-token prefill, 16 bits / int8",
                      .where = kSpeedWhere,
                      .expected = {2, 3}},
                     {.id = "quantization.fp8_perplexity",
                      .claim = "FP8: minimal quality loss",
                      .metric = "perplexity, bf16 / fp8",
                      .where = "format fp8; minimal: --max-ppl-loss",
                      .expected = {1, kInfinity}},
                     {.id = "quantization.fp8_kld",
                      .claim = "FP8: minimal quality loss",
                      .metric = "mean KL divergence, allowed / found",
                      .where = "format fp8; minimal: --max-kld",
                      .expected = {1, kInfinity}},
                     {.id = "quantization.int8_degradation",
                      .claim = "INT8: potential quality degradation",
                      .metric = "mean KL divergence, int8 / fp8",
                      .where = "formats int8 and fp8",
                      .expected = {1, kInfinity}},
                     {.id = "quantization.fp8_memory",
                      .claim = "Memory savings: FP8 (50%)",
                      .metric = "share of the weights' bytes saved",
                      .where = "fp8 against 16 bits, where speed is judged; 50% read as 45 to 55%",
                      .expected = {0.45, 0.55}},
                     {.id = "quantization.int8_memory",
                      .claim = "Memory savings: INT8 (50-75%)",
                      .metric = "share of the weights' bytes saved",
                      .where = "int8 against 16 bits, where speed is judged",
                      .expected = {0.5, 0.75}},
                     {.id = "quantization.int8_memory_of_fp32",
                      .claim = "Memory savings: INT8 (50-75%)",
                      .metric = "share of the weights' bytes saved",
                      .where = "int8 against fp32, which the 75% must mean",
                      .expected = {0.5, 0.75}}},
      .expected_quick = {46},
      .expected_full = {150},
      .expected_gpu = {98},
      .speed_rows = false};
  return info;
}

record::Metric counted(std::string name, std::string unit, record::Better better, double value) {
  return {.name = std::move(name), .unit = std::move(unit), .better = better, .value = value, .statistic = "count"};
}

// A mean over tokens, with the 95% interval of its standard error.
record::Metric averaged(std::string name, std::string unit, record::Better better, const quality::Mean& mean) {
  record::Metric metric = counted(std::move(name), std::move(unit), better, mean.value);
  metric.statistic = "mean";
  if (std::isfinite(mean.se)) metric.ci95 = {mean.value - 1.96 * mean.se, mean.value + 1.96 * mean.se};
  return metric;
}

class QuantizationExperiment final : public lab::Experiment {
 public:
  const lab::Info& info() const override { return quantization_info(); }

  // Of the published shapes the plan's three formats; of the run's own, if it is one of them, only once.
  bool wanted(const lab::Point& point, const lab::Context& context) const override {
    const std::string &shape = point.text("shape"), &format = point.text("format");
    if (shape == record::kOwnModel) return true;
    return shape != context.model.name && (format == kGpuBaseline || format == "fp8" || format == "int8");
  }

  Status begin(lab::Context& context, record::Experiment& record) override {
    if (context.effort < 1) plan_.prompts = 2;
    const std::int64_t full = context.on_gpu() ? kGpuQualityTokens : 0;
    plan_.tokens = context.full() ? full : static_cast<std::int64_t>(8192 * std::min(context.effort, 1.0));
    speed_base_name_ = context.on_gpu() ? kGpuBaseline : kBaseline;
    if (context.on_gpu()) context.weights.drop();  // the formats need the room
    judged_ = context.model.synthetic ? context.trained : &context.model;
    if (context.model.synthetic)
      record.notes.push_back(fmt::format(
          "The weights of {} are random numbers, so their quality would mean nothing: {}.", context.model.name,
          judged_ ? "quality is that of " + judged_->name : std::string("none is measured")));
    if (judged_ == nullptr) return ok();
    RL_ASSIGN(text_, quality::read_text(*judged_, ""));
    RL_ASSIGN(judged_base_, make_engine(context, *judged_, kBaseline, context.memory));
    return ok();
  }

  Status measure(lab::Context& context, const lab::Point& point, record::Experiment& record) override {
    const std::string &shape = point.text("shape"), &format = point.text("format");
    RL_ASSIGN(const model::ModelSource* source, source_of(context, shape));
    MemoryResource& upstream = context.memory;
    if (shape == record::kOwnModel && judged_ != nullptr && judged_ != source) {
      CountingResource memory(upstream);
      RL_ASSIGN(const auto engine, make_engine(context, *judged_, format, memory));
      record::Row row = row_of(context, judged_->name, format, *engine, memory);
      RL_TRY(measure_quality(*engine, row));
      row.path = engine->path();
      record.rows.push_back(std::move(row));
      if (format == "fp32") return ok();  // 4 bytes a weight of a large shape, and no matrix unit that takes them
    }
    if (speed_shape_ != shape) {
      speed_base_.reset();
      speed_base_memory_ = std::make_unique<CountingResource>(upstream);
      RL_ASSIGN(speed_base_, make_engine(context, *source, speed_base_name_, *speed_base_memory_));
      speed_shape_ = shape;
    }
    const bool is_base = format == speed_base_name_;
    CountingResource memory(upstream);
    std::unique_ptr<engine::Engine> beside;
    if (!is_base) {
      RL_ASSIGN(beside, make_engine(context, *source, format, memory));
    }
    engine::Engine& engine = is_base ? *speed_base_ : *beside;
    record::Row row = row_of(context, shape, format, engine, is_base ? *speed_base_memory_ : memory);
    if (judged_ == source) RL_TRY(measure_quality(engine, row));
    if (engine.emulated()) row.note = "emulated: its speed would say nothing and is not measured";
    if (engine.emulated() || is_base) {
      if (is_base) RL_TRY(measure_base_speed(context, engine, row));
      row.path = engine.path();
      record.rows.push_back(std::move(row));
      return ok();
    }
    return measure_speed(context, engine, shape, format, row, record);
  }

  bool concludes_from_record() const override { return true; }
  Status conclude(lab::Context&, record::Experiment& record) override {
    conclude_formats(record);
    judged_base_.reset();
    speed_base_.reset();
    return ok();
  }

 private:
  Result<const model::ModelSource*> source_of(lab::Context& context, const std::string& shape) {
    if (shape == record::kOwnModel) return &context.model;
    if (!drawn_ || drawn_->name != shape) {
      RL_ASSIGN(drawn_, model::find_model(shape));
    }
    return &*drawn_;
  }

  Result<std::unique_ptr<engine::Engine>> make_engine(lab::Context& context, const model::ModelSource& source,
                                                      const std::string& format, MemoryResource& memory) const {
    RL_ASSIGN(const engine::NumberFormat chosen, engine::format_from(format));
    const std::int64_t needed = std::max({quality::context_needed(plan_), kPromptTokens + 1, kDecode.context()});
    return engine::Engine::make(source, context.backend, memory,
                                {.precision = chosen.precision,
                                 .weights = chosen.weights,
                                 .max_context = std::min(source.config.max_positions, needed),
                                 .max_seqs = quality::seqs_needed(plan_),
                                 .prefix_reuse = false});
  }

  static record::Row row_of(const lab::Context& context, const std::string& shape, const std::string& format,
                            const engine::Engine& engine, const CountingResource& memory) {
    record::Row row{.axes = {{"shape", shape}, {"format", format}}};
    row.metrics.push_back(counted("weight_bytes", "B", record::Better::lower,
                                  static_cast<double>(engine.memory_plan().of("weights").count)));
    row.metrics.push_back(
        counted("peak_memory_bytes", "B", record::Better::lower, static_cast<double>(memory.peak().count)));
    if (format == kBaseline) {
      row.metrics.push_back(counted(kMaxKld, "1", record::Better::neither, context.limits.max_kld));
      row.metrics.push_back(counted(kMaxPplLoss, "1", record::Better::neither, context.limits.max_ppl_loss));
    }
    return row;
  }

  Status measure_quality(engine::Engine& engine, record::Row& row) {
    using record::Better;
    RL_ASSIGN(const quality::Assessment a, quality::assess(*judged_base_, engine, *text_, plan_));
    const quality::Divergence& d = a.divergence;
    row.metrics.push_back(averaged("perplexity", "1", Better::lower, d.ppl));
    row.metrics.push_back(averaged("perplexity_ratio", "1", Better::lower, d.ppl_ratio));
    row.metrics.push_back(
        averaged("perplexity_increase", "%", Better::lower, {100 * (d.ppl_ratio.value - 1), 100 * d.ppl_ratio.se}));
    row.metrics.push_back(averaged("mean_kld", "1", Better::lower, d.kld));
    row.metrics.push_back(counted("p99_kld", "1", Better::lower, d.p99_kld));
    row.metrics.push_back(counted("p999_kld", "1", Better::lower, d.p999_kld));
    row.metrics.push_back(counted("max_kld", "1", Better::lower, d.max_kld));
    row.metrics.push_back(averaged("same_top_p", "1", Better::higher, d.same_top));
    row.metrics.push_back(averaged("rms_dp", "1", Better::lower, d.rms_dp));
    const auto worst = std::ranges::max_element(a.layers, {}, &quality::LayerError::relative);
    row.metrics.push_back(counted("worst_layer_error", "1", Better::lower, worst->relative));
    row.metrics.push_back(counted("identical_outputs", "1", Better::higher, a.consistency.identical()));
    row.metrics.push_back(counted("scored_tokens", "1", Better::neither, static_cast<double>(d.tokens)));
    return ok();
  }

  // Whether decode at the depth is within the engine's context.
  static bool decodes(const engine::Engine& engine) { return engine.options().max_context >= kDecode.context(); }

  static record::Metric prefill_time(record::Metric time) {
    time.name = "prefill_time";
    return time;
  }
  static record::Metric token_time(const record::Metric& time) {
    return measure::scaled(time, "decode_token_time", "s", 1.0 / static_cast<double>(kDecode.steps));
  }

  static Status measure_base_speed(lab::Context& context, engine::Engine& engine, record::Row& row) {
    RL_ASSIGN(record::Metric prefill,
              measure::run(context.plan(), lab::prefill_task(engine, kPromptTokens, context.seed, "prefill")));
    row.metrics.push_back(prefill_time(std::move(prefill)));
    if (!decodes(engine)) return ok();
    RL_ASSIGN(const record::Metric decode,
              measure::run(context.plan(), lab::decode_task(engine, kDecode, context.seed, "decode")));
    row.metrics.push_back(token_time(decode));
    return ok();
  }

  Status measure_speed(lab::Context& context, engine::Engine& engine, const std::string& shape,
                       const std::string& format, record::Row& row, record::Experiment& record) {
    engine::Engine& base = *speed_base_;
    record::Row beside{.axes = {{"shape", shape}, {fmt::format("{} beside", speed_base_name_), format}}};
    std::vector<record::Comparison> comparisons;
    const auto add = [&](record::Metric a, record::Metric b, const char* metric, double smallest_effect) {
      record::Comparison comparison =
          measure::compare_pairs(a.samples, b.samples, record::Better::lower, smallest_effect);
      comparison.baseline = format_at(speed_base_name_, shape);
      comparison.candidate = format_at(format, shape);
      comparison.metric = metric;
      comparisons.push_back(std::move(comparison));
      beside.metrics.push_back(std::move(a));
      row.metrics.push_back(std::move(b));
    };
    const measure::Plan plan = context.plan();
    RL_ASSIGN(measure::PairResult prefill,
              measure::run_pair(plan, lab::prefill_task(base, kPromptTokens, context.seed, "16 bits"),
                                lab::prefill_task(engine, kPromptTokens, context.seed, format)));
    add(prefill_time(std::move(prefill.a)), prefill_time(std::move(prefill.b)), kPrefill, plan.smallest_effect);
    if (decodes(engine) && decodes(base)) {
      RL_ASSIGN(const measure::PairResult decode,
                measure::run_pair(plan, lab::decode_task(base, kDecode, context.seed, "16 bits"),
                                  lab::decode_task(engine, kDecode, context.seed, format)));
      add(token_time(decode.a), token_time(decode.b), kDecoding, plan.smallest_effect);
    }
    row.path = engine.path();
    beside.path = base.path();
    record.rows.push_back(std::move(row));
    record.rows.push_back(std::move(beside));
    std::ranges::move(comparisons, std::back_inserter(record.comparisons));
    return ok();
  }

  quality::AssessPlan plan_;
  const model::ModelSource* judged_ = nullptr;  // whose quality is measured; null: none is there
  std::optional<quality::Text> text_;
  std::unique_ptr<CountingResource> speed_base_memory_;
  std::unique_ptr<engine::Engine> judged_base_, speed_base_;
  std::string speed_shape_;  // of speed_base_
  const char* speed_base_name_ = kBaseline;
  std::optional<model::ModelSource> drawn_;
};

}  // namespace

lab::Entry quantization() {
  return {.info = quantization_info(),
          .make = []() -> std::unique_ptr<lab::Experiment> { return std::make_unique<QuantizationExperiment>(); }};
}

}  // namespace rl::experiments
