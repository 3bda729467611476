// The named baseline: what this machine reaches, and what the engine does on it before any optimisation (16-bit
// weights, standard attention, one step at a time, one request at a time). Every later ratio refers to this record.

#include "engine/engine.h"
#include "experiments/list.h"
#include "lab/conclude.h"
#include "lab/engine_load.h"

namespace rl::experiments {
namespace {

const lab::Info& baseline_info() {
  static const lab::Info info{
      .id = "baseline",
      .title = "Baseline",
      .plan = "next steps",
      .question = "What does this machine reach, and what does the engine do on it before any optimisation?",
      .baseline = "itself: 16-bit weights, standard attention, one launch at a time, one request at a time",
      .expected = "measured, not expected",
      .axes = {{"load",
                "a ceiling of the machine, or a phase of inference",
                {"ceilings", "prefill", "decode"},
                {"ceilings", "prefill", "decode"}},
               {"tokens",
                "prefill: prompt tokens; decode: tokens of context",
                {"128", "1024"},
                {"128", "512", "1024", "2048"}}},
      .hypotheses = {},
      .expected_quick = {9},
      .expected_full = {90},
      .expected_gpu = {20}};
  return info;
}

class BaselineExperiment final : public lab::Experiment {
 public:
  const lab::Info& info() const override { return baseline_info(); }

  // The ceilings have no length.
  bool wanted(const lab::Point& point, const lab::Context&) const override {
    return point.text("load") != "ceilings" || point.number("tokens") == 128;
  }

  Status measure(lab::Context& context, const lab::Point& point, record::Experiment& record) override {
    if (point.text("load") == "ceilings") return measure_ceilings(context, record);
    const std::int64_t tokens = point.number("tokens");
    const bool prefill = point.text("load") == "prefill";
    RL_ASSIGN(const bool fits, context.has_room("tokens", fmt::format("{} at {} tokens", point.text("load"), tokens),
                                                room_for(prefill, tokens), record));
    if (!fits) return ok();
    if (!engine_) {
      RL_TRY(start_engine(context));
      add_loading(context, record);
    }
    RL_ASSIGN(const record::Metric rate, prefill ? lab::measure_prefill(*engine_, tokens, context.plan())
                                                 : lab::measure_decode(*engine_, {.depth = tokens}, context.plan()));
    record::Row row{.axes = point.values(), .metrics = {rate}, .path = engine_->path()};
    if (prefill) {
      const double flops_per_token = lab::prefill_flops(context.model.config, tokens) / static_cast<double>(tokens);
      if (const auto peak = context.ceiling("matrix_rate_bf16"))
        row.metrics.push_back(measure::scaled(rate, "share_of_matrix_rate", "1", flops_per_token / peak->value));
    } else {
      const double bytes =
          static_cast<double>(engine_->weight_bytes_per_token().count + tokens * engine_->kv_bytes_per_token().count);
      row.metrics.push_back(measure::scaled(rate, "read_rate", "B/s", bytes));
      if (const auto peak = context.ceiling("read_bandwidth"))
        row.metrics.push_back(measure::scaled(rate, "share_of_read_bandwidth", "1", bytes / peak->value));
    }
    record.rows.push_back(std::move(row));
    return ok();
  }

  bool concludes_from_record() const override { return true; }

  Status conclude(lab::Context& context, record::Experiment& record) override {
    std::optional<double> decode, prefill, share;
    bool enough = true;  // samples for an interval
    for (const record::Row& row : record.rows) {
      if (!row.validity.valid) continue;
      for (const record::Metric& metric : row.metrics)
        enough = enough && (metric.samples.empty() || metric.samples.size() >= measure::kLeastSamples);
      if (const auto* metric = lab::find_metric(row, "decode_throughput"); metric && !decode) {
        decode = metric->value;
        if (const auto* read = lab::find_metric(row, "share_of_read_bandwidth")) share = read->value;
      }
      if (const auto* metric = lab::find_metric(row, "prefill_throughput")) prefill = metric->value;
    }
    if (!decode || !prefill) {
      // Measured, but while others used the machine: the rows are invalid, the program is not at fault.
      const auto row = std::find_if(record.rows.begin(), record.rows.end(), [](const record::Row& r) {
        return !r.validity.valid && (lab::find_metric(r, "decode_throughput") != nullptr ||
                                     lab::find_metric(r, "prefill_throughput") != nullptr);
      });
      const bool measured = row != record.rows.end();
      record.state = measured ? record::State::done : record::State::invalid;
      record.outcome = measured ? record::Outcome::inconclusive : record::Outcome::invalid;
      record.reasons.push_back(
          fmt::format("no valid row of decode or of prefill{}",
                      measured && !row->validity.reasons.empty() ? ": " + row->validity.reasons[0] : ""));
      record.measured = "no valid row";
      return ok();
    }
    record.outcome = enough ? record::Outcome::holds : record::Outcome::inconclusive;
    record.measured = fmt::format("{} tok/s decode", format_significant(*decode));
    const bool cached = share && *share > 1;  // more than memory gives: it never came from there
    record.meaning = fmt::format(
        "Before any optimisation {} decodes {} tokens/s and prefills {} tokens/s here{}.", context.model.name,
        format_significant(*decode), format_significant(*prefill),
        cached  ? "; decode reads its weights from the processor's cache"
        : share ? fmt::format("; decode reads {}% of what memory gives", format_significant(100 * *share, 2))
                : "");
    record.advice = cached ? "Memory does not bound a model this small; try a larger one: `-m synthetic:llama-3.2-1b`."
                           : "Every later ratio refers to these rows; keep the machine quiet while it measures.";
    if (engine_) record.notes.push_back("Memory plan of the engine:\n" + engine_->memory_plan().table());
    record.charts.push_back({.title = "Decode by context",
                             .x = "tokens",
                             .y = "decode_throughput",
                             .series = "load",
                             .where = {{"load", "decode"}}});
    record.charts.push_back({.title = "Prefill by prompt length",
                             .x = "tokens",
                             .y = "prefill_throughput",
                             .series = "load",
                             .where = {{"load", "prefill"}}});
    engine_.reset();
    return ok();
  }

 private:
  // Tokens of context that a load takes.
  static std::int64_t room_for(bool prefill, std::int64_t tokens) {
    return prefill ? tokens + 1 : lab::DecodeLoad{.depth = tokens}.context();
  }

  static Status measure_ceilings(lab::Context& context, record::Experiment& record) {
    for (const Probe& probe : context.backend.probes) {
      record::Row row{.axes = {{"load", "ceiling"}, {"probe", probe.name}}, .note = probe.method};
      if (const auto metric = context.ceiling(probe.name)) {
        row.metrics.push_back(*metric);
      } else {
        record::invalidate(row.validity, metric.error().what, metric.error().rule);
      }
      record.rows.push_back(std::move(row));
    }
    return ok();
  }

  // How fast a checkpoint's weights came to a device that the host cannot write.
  void add_loading(lab::Context& context, record::Experiment& record) const {
    if (context.backend.device->host_reads_memory() || context.model.synthetic) return;
    const double rate = (engine_->loaded_bytes() / engine_->load_time()).count;
    record::Row row{.axes = {{"load", "weights"}},
                    .note = "of the file's bytes, read, looked at, packed and copied once"};
    row.metrics.push_back({.name = "load_rate", .unit = "B/s", .value = rate, .statistic = "count"});
    if (const auto peak = context.ceiling("pinned_copy"))
      row.metrics.push_back(
          {.name = "share_of_pinned_copy", .unit = "1", .value = rate / peak->value, .statistic = "count"});
    record.rows.push_back(std::move(row));
  }

  Status start_engine(lab::Context& context) {
    std::int64_t longest = 2;  // context of the points that fit
    for (const lab::Axis& axis : info().axes)
      if (axis.name == "tokens") {
        for (const std::string& value : lab::values_of(axis, context.axis_set(), context.axes))
          for (const bool prefill : {true, false})
            if (const std::int64_t room = room_for(prefill, std::stoll(value));
                room <= context.model.config.max_positions)
              longest = std::max(longest, room);
      }
    engine::EngineOptions options{.precision = engine::Precision::bf16,
                                  .max_context = longest,
                                  .max_seqs = 1,
                                  .graphs = false,
                                  .prefix_reuse = false};
    for (const auto& variant : context.backend.catalog.attention)
      if (std::string_view(variant.name).ends_with(".standard")) options.force["attention"] = variant.name;
    RL_ASSIGN(engine_, context.engine(options));
    return ok();
  }

  std::unique_ptr<engine::Engine> engine_;
};

}  // namespace

lab::Entry baseline() {
  return {.info = baseline_info(),
          .make = []() -> std::unique_ptr<lab::Experiment> { return std::make_unique<BaselineExperiment>(); }};
}

}  // namespace rl::experiments
