// Experiment 2.1: what each number format saves, and what it costs in quality.
//
// Every format is an engine of its own beside the baseline's. Bytes are the memory plan's and the allocator's; quality
// is measured in lockstep with the baseline on a text; time only where the arithmetic runs on instructions made for the
// format: the speed of an emulated one would say nothing.

#include <fmt/ranges.h>

#include "experiments/list.h"
#include "lab/conclude.h"
#include "lab/engine_load.h"
#include "quality/assess.h"

namespace rl::experiments {
namespace {

using lab::Estimate;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr const char* kBaseline = "bf16";
constexpr std::int64_t kPromptTokens = 512;  // the plan's input
constexpr const char *kMaxKld = "max_kld_allowed", *kMaxPplLoss = "ppl_loss_allowed";

const lab::Info& quantization_info() {
  static const std::vector<std::string> formats = {"bf16",      "fp16", "fp32",    "fp8",   "fp8-tensor",
                                                   "fp8-block", "int8", "int8-wo", "fp8-wo"};
  static const lab::Info info{.id = "quantization",
                              .title = "FP8, INT8 and 16-bit formats",
                              .plan = "2.1",
                              .question = "What does each number format save, and what does it cost in quality?",
                              .baseline = "bf16: 16-bit weights and activations",
                              .expected = "FP8 1.5-2x, INT8 2-3x",
                              .axes = {{"format", "of weights and, without -wo, of activations", formats, formats}},
                              .hypotheses = {{.id = "quantization.fp8_speed",
                                              .claim = "FP8: approximately 1.5-2 times faster than FP16",
                                              .metric = "time of a 512-token prefill, bf16 / fp8",
                                              .where = "format fp8",
                                              .expected = {1.5, 2}},
                                             {.id = "quantization.int8_speed",
                                              .claim = "INT8: approximately 2-3 times faster",
                                              .metric = "time of a 512-token prefill, bf16 / int8",
                                              .where = "format int8",
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
                                              .where = "fp8 against bf16; 50% read as 45 to 55%",
                                              .expected = {0.45, 0.55}},
                                             {.id = "quantization.int8_memory",
                                              .claim = "Memory savings: INT8 (50-75%)",
                                              .metric = "share of the weights' bytes saved",
                                              .where = "int8 against bf16",
                                              .expected = {0.5, 0.75}},
                                             {.id = "quantization.int8_memory_of_fp32",
                                              .claim = "Memory savings: INT8 (50-75%)",
                                              .metric = "share of the weights' bytes saved",
                                              .where = "int8 against fp32, which the 75% must mean",
                                              .expected = {0.5, 0.75}}},
                              .expected_quick = {35},
                              .expected_full = {150},
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

Estimate exactly(double value) { return {value, {value, value}}; }

class QuantizationExperiment final : public lab::Experiment {
 public:
  const lab::Info& info() const override { return quantization_info(); }

  Status begin(lab::Context& context, record::Experiment& record) override {
    if (context.effort < 1) plan_.prompts = 2;
    plan_.tokens = context.full() ? 0 : static_cast<std::int64_t>(8192 * std::min(context.effort, 1.0));
    if (!context.model.synthetic) {
      RL_ASSIGN(text_, quality::read_text(context.model, ""));
    } else {
      record.notes.push_back("Quality is not measured: the weights of " + context.model.name +
                             " are random numbers, so it would mean nothing.");
    }
    RL_ASSIGN(base_, make_engine(context, kBaseline));
    return ok();
  }

  Status measure(lab::Context& context, const lab::Point& point, record::Experiment& record) override {
    const std::string& format = point.text("format");
    CountingResource memory(context.memory);
    std::unique_ptr<engine::Engine> engine;
    RL_ASSIGN(engine, make_engine(context, format, &memory));
    record::Row row{.axes = point.values()};
    row.metrics.push_back(counted("weight_bytes", "B", record::Better::lower,
                                  static_cast<double>(engine->memory_plan().of("weights").count)));
    row.metrics.push_back(
        counted("peak_memory_bytes", "B", record::Better::lower, static_cast<double>(memory.peak().count)));
    if (text_) RL_TRY(measure_quality(*engine, row));
    row.path = engine->path();
    if (format == kBaseline) {
      row.metrics.push_back(counted(kMaxKld, "1", record::Better::neither, context.limits.max_kld));
      row.metrics.push_back(counted(kMaxPplLoss, "1", record::Better::neither, context.limits.max_ppl_loss));
      record.rows.push_back(std::move(row));
    } else if (engine->emulated()) {
      row.note = "emulated: its speed would say nothing and is not measured";
      record.rows.push_back(std::move(row));
    } else {
      RL_TRY(measure_speed(context, *engine, format, row, record));
    }
    return ok();
  }

  bool concludes_from_record() const override { return true; }
  Status conclude(lab::Context&, record::Experiment& record) override {
    read(record);
    conclude_speed(record, "quantization.fp8_speed", "fp8");
    conclude_speed(record, "quantization.int8_speed", "int8");
    conclude_quality(record);
    conclude_savings(record, "quantization.fp8_memory", "fp8", kBaseline);
    conclude_savings(record, "quantization.int8_memory", "int8", kBaseline);
    conclude_savings(record, "quantization.int8_memory_of_fp32", "int8", "fp32");
    headline(record);
    charts(record);
    base_.reset();
    return ok();
  }

 private:
  struct Measured {
    std::string format;
    double weight_bytes = 0;
    std::optional<Estimate> perplexity_ratio, kld;
    std::optional<Estimate> speed;  // over the baseline, prefill
  };

  // What the rows and comparisons say.
  void read(const record::Experiment& record) {
    measured_.clear();
    for (const record::Row& row : record.rows) {
      const std::string* format = lab::find_axis(row, "format");
      const record::Metric* bytes = lab::find_metric(row, "weight_bytes");
      if (format == nullptr || bytes == nullptr || !row.validity.valid) continue;
      const auto estimate = [&](const char* name) -> std::optional<Estimate> {
        const record::Metric* metric = lab::find_metric(row, name);
        if (metric == nullptr) return std::nullopt;
        return Estimate{metric->value, metric->ci95.value_or(record::Interval{metric->value, metric->value})};
      };
      Measured m{.format = *format,
                 .weight_bytes = bytes->value,
                 .perplexity_ratio = estimate("perplexity_ratio"),
                 .kld = estimate("mean_kld")};
      for (const record::Comparison& comparison : record.comparisons)
        if (comparison.candidate == *format) m.speed = Estimate{comparison.ratio, comparison.ci95};
      if (const record::Metric* limit = lab::find_metric(row, kMaxKld)) limits_.max_kld = limit->value;
      if (const record::Metric* limit = lab::find_metric(row, kMaxPplLoss)) limits_.max_ppl_loss = limit->value;
      measured_.push_back(std::move(m));
    }
  }

  Result<std::unique_ptr<engine::Engine>> make_engine(lab::Context& context, const std::string& format,
                                                      MemoryResource* memory = nullptr) const {
    RL_ASSIGN(const engine::NumberFormat chosen, engine::format_from(format));
    return engine::Engine::make(context.model, context.backend, memory ? *memory : context.memory,
                                {.precision = chosen.precision,
                                 .weights = chosen.weights,
                                 .max_context = std::min(context.model.config.max_positions,
                                                         std::max(quality::context_needed(plan_), kPromptTokens + 1)),
                                 .max_seqs = quality::seqs_needed(plan_),
                                 .prefix_reuse = false});
  }

  Status measure_quality(engine::Engine& engine, record::Row& row) {
    using record::Better;
    RL_ASSIGN(const quality::Assessment a, quality::assess(*base_, engine, *text_, plan_));
    const quality::Divergence& d = a.divergence;
    row.metrics.push_back(averaged("perplexity", "1", Better::lower, d.ppl));
    row.metrics.push_back(averaged("perplexity_ratio", "1", Better::lower, d.ppl_ratio));
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

  Status measure_speed(lab::Context& context, engine::Engine& engine, const std::string& format, record::Row& row,
                       record::Experiment& record) {
    RL_ASSIGN(measure::PairResult pair,
              measure::run_pair(context.plan(), lab::prefill_task(*base_, kPromptTokens, context.seed, kBaseline),
                                lab::prefill_task(engine, kPromptTokens, context.seed, format)));
    pair.a.name = pair.b.name = "prefill_time";
    pair.comparison.metric = "time of a 512-token prefill";
    row.metrics.push_back(std::move(pair.b));
    record.rows.push_back(std::move(row));
    record.rows.push_back({.axes = {{"bf16 beside", format}}, .metrics = {std::move(pair.a)}, .path = base_->path()});
    record.comparisons.push_back(std::move(pair.comparison));
    return ok();
  }

  const Measured* find(std::string_view format) const {
    for (const Measured& measured : measured_)
      if (measured.format == format) return &measured;
    return nullptr;
  }

  void conclude_speed(record::Experiment& record, std::string_view id, const char* format) const {
    const Measured* measured = find(format);
    if (measured == nullptr || measured->speed)
      return lab::conclude_hypothesis(record, id, measured ? measured->speed : std::nullopt, "no valid row");
    for (record::Hypothesis& hypothesis : record.hypotheses)
      if (hypothesis.id == id)
        hypothesis.reason =
            "this machine has no instructions for the format: its speed is never judged by an emulation";
  }

  void conclude_quality(record::Experiment& record) const {
    for (record::Hypothesis& hypothesis : record.hypotheses) {
      if (hypothesis.id == "quantization.fp8_perplexity") hypothesis.expected.low = 1 / (1 + limits_.max_ppl_loss);
      if (hypothesis.id == "quantization.fp8_kld")
        hypothesis.where = fmt::format("format fp8; minimal: {} nats", limits_.max_kld);
    }
    const Measured *fp8 = find("fp8"), *int8 = find("int8");
    const bool quality = std::ranges::any_of(measured_, [](const Measured& m) { return m.kld.has_value(); });
    const char* none = quality ? "no valid row" : "no quality was measured: the notes say why";
    std::optional<Estimate> perplexity, kld, degradation;
    const auto over = [](const Estimate& a, const Estimate& b) {
      return Estimate{a.value / b.value, {a.interval.low / b.interval.high, a.interval.high / b.interval.low}};
    };
    if (fp8 && fp8->kld) {
      perplexity = over(exactly(1), *fp8->perplexity_ratio);
      kld = over(exactly(limits_.max_kld), *fp8->kld);
      if (int8 && int8->kld) degradation = over(*int8->kld, *fp8->kld);
    }
    lab::conclude_hypothesis(record, "quantization.fp8_perplexity", perplexity, none);
    lab::conclude_hypothesis(record, "quantization.fp8_kld", kld, none);
    lab::conclude_hypothesis(record, "quantization.int8_degradation", degradation, none);
  }

  void conclude_savings(record::Experiment& record, std::string_view id, const char* format, const char* base) const {
    const Measured *small = find(format), *large = find(base);
    std::optional<Estimate> saved;
    if (small && large) saved = exactly(1 - small->weight_bytes / large->weight_bytes);
    lab::conclude_hypothesis(record, id, saved, "no valid row of both formats");
  }

  bool within(const Measured& m) const {
    return m.kld->value <= limits_.max_kld && m.perplexity_ratio->value <= 1 + limits_.max_ppl_loss;
  }

  void headline(record::Experiment& record) const {
    record.outcome = lab::overall(record);
    const Measured* base = find(kBaseline);
    const Measured* best = nullptr;  // the smallest within the limits
    std::vector<std::string> outside, parts;
    bool quality = false;
    for (const Measured& m : measured_) {
      quality |= m.kld.has_value();
      if (!m.kld || m.format == kBaseline) continue;
      if (!within(m)) outside.push_back(m.format);
      if (!within(m) || !base || m.weight_bytes >= base->weight_bytes) continue;
      if (best == nullptr || std::pair(m.weight_bytes, m.kld->value) < std::pair(best->weight_bytes, best->kld->value))
        best = &m;
    }
    for (const char* format : {"fp8", "int8"})
      if (const Measured* m = find(format))
        parts.push_back(m->speed ? fmt::format("{} {}x", format, format_significant(m->speed->value, 2))
                                 : fmt::format("{} emulated", format));
    record.measured = parts.empty() ? "no valid row" : fmt::format("{}", fmt::join(parts, ", "));
    const std::string limits = fmt::format("mean KLD {} and perplexity +{}%", limits_.max_kld,
                                           format_significant(100 * limits_.max_ppl_loss, 2));
    if (!quality) {
      record.meaning =
          "Bytes and native speed of the formats are measured; the quality of random weights means nothing.";
      record.advice = "Measure quality on a trained model: `redline experiment quantization -m MODEL`.";
    } else if (best != nullptr) {
      record.meaning = fmt::format(
          "{} saves {}% of the weights' bytes at a mean KLD of {:.1e} and a perplexity {:+.2f}%; {} within {}.",
          best->format, format_significant(100 * (1 - best->weight_bytes / base->weight_bytes), 2), best->kld->value,
          100 * (best->perplexity_ratio->value - 1),
          outside.empty() ? std::string("all formats stay") : fmt::format("all but {} stay", fmt::join(outside, ", ")),
          limits);
      record.advice =
          fmt::format("Within your limits the smallest is {0}: `--format {0}`{1}.", best->format,
                      best->speed ? "" : "; here it saves memory, not time: this processor only emulates it");
    } else {
      record.meaning = fmt::format("No smaller format stays within {}.", limits);
      record.advice = "Keep 16 bits, or raise --max-kld and --max-ppl-loss if the loss is fine for you.";
    }
  }

  static void charts(record::Experiment& record) {
    const auto bars = [&](const char* title, const char* y) {
      record.charts.push_back({.title = title, .x = "format", .y = y, .bars = true});
    };
    bars("Bytes of the weights", "weight_bytes");
    bars("Mean KL divergence from bf16, nats", "mean_kld");
    bars("Perplexity over bf16's", "perplexity_ratio");
  }

  quality::AssessPlan plan_;
  std::optional<quality::Text> text_;
  std::unique_ptr<engine::Engine> base_;
  std::vector<Measured> measured_;
  lab::Limits limits_;
};

}  // namespace

lab::Entry quantization() {
  return {.info = quantization_info(),
          .make = []() -> std::unique_ptr<lab::Experiment> { return std::make_unique<QuantizationExperiment>(); }};
}

}  // namespace rl::experiments
