// Experiment 3.2, "Throughput: 3-5 times improvement with proper batching": one request at a time, static batches,
// continuous batching, all by the same engine and its one scheduler.
//
// First throughput, with all requests there at the start, the three ways timed in turns on the same requests. Then what
// continuous batching costs in latency when requests arrive as they like: open loop, Poisson, at shares of the
// throughput just measured. Last, how large a batch a given memory holds: predicted, and tried.

#include "experiments/batching_load.h"
#include "experiments/list.h"
#include "lab/conclude.h"

namespace rl::experiments {
namespace {

using lab::Estimate;

constexpr loadgen::Lengths kQuickLengths{.prompt_low = 16, .prompt_high = 128, .output_low = 8, .output_high = 64};
constexpr loadgen::Lengths kFullLengths{.prompt_low = 32, .prompt_high = 512, .output_low = 16, .output_high = 256};
constexpr loadgen::Lengths kGpuLengths{.prompt_low = 32, .prompt_high = 512, .output_low = 8, .output_high = 64};
constexpr std::int64_t kPercentileRequests = 740;  // p99 needs 662 samples after the first tenth
constexpr std::size_t kLeastAlone = 8;             // requests that stand for all of them, at least
constexpr std::int64_t kFitContext[] = {256, 1024, 4096};

const lab::Info& batching_info() {
  static const lab::Info info{
      .id = "batching",
      .title = "Batching and scheduling",
      .plan = "3.2",
      .question = "How much throughput does continuous batching give, and what does it cost in latency?",
      .baseline = "one request at a time on the same engine",
      .expected = "3-5x throughput",
      .axes = {{"load",
                "queue: all requests there at the start; a number: Poisson arrivals at that percentage of the "
                "continuous throughput; fit: the largest batch in a memory",
                {"queue", "50", "80", "95", "fit"},
                {"queue", "50", "80", "95", "fit"}},
               {"seqs", "requests that run at once", {"16"}, {"4", "16", "64"}, {"64"}},
               {"requests", "in the queue", {"32"}, {"192"}, {"128"}},
               {"ttft_ms", "SLO: time to the first token", {"200"}, {"200"}},
               {"tpot_ms", "SLO: time per further token", {"50"}, {"50"}}},
      .hypotheses = {{.id = "batching.throughput",
                      .claim = "Throughput: 3-5 times improvement with proper batching and streaming",
                      .metric = "output tokens per second, continuous / one at a time",
                      .where = "all requests there at the start; the seqs with the most throughput",
                      .expected = {3, 5}}},
      .expected_quick = {21},
      .expected_full = {450},
      .expected_gpu = {49}};
  return info;
}

class BatchingExperiment final : public lab::Experiment {
 public:
  const lab::Info& info() const override { return batching_info(); }

  // Latency and memory at one number of sequences: what each device is served well with.
  bool wanted(const lab::Point& point, const lab::Context& context) const override {
    return point.text("load") == "queue" || point.number("seqs") == (context.axis_set() == lab::AxisSet::gpu ? 64 : 16);
  }

  Status measure(lab::Context& context, const lab::Point& point, record::Experiment& record) override {
    RL_TRY(start_engine(context, point.number("seqs")));
    const std::string& load = point.text("load");
    if (load == "fit") return measure_fit(context, record);
    if (load == "queue") return measure_queue(context, point, record);
    const std::int64_t percent = point.number("load");
    if (percent < 1 || percent > 1000)
      return Error{.kind = ErrorKind::usage,
                   .what = "a load is a percentage of the continuous throughput",
                   .expected = "queue, fit or 1 to 1000",
                   .found = load};
    if (!requests_per_second_.contains(point.number("seqs"))) RL_TRY(measure_queue(context, point, record));
    return measure_arrivals(context, point, record);
  }

  bool concludes_from_record() const override { return true; }

  Status conclude(lab::Context&, record::Experiment& record) override {
    const std::string seqs = best_seqs(record);
    const std::optional<Estimate> ratio = ratio_of(record, seqs, kOneAtATime),
                                  over_static = ratio_of(record, seqs, kStaticBatch);
    lab::conclude_hypothesis(record, "batching.throughput", ratio, "the throughput was not measured");
    record.outcome = lab::overall(record);
    if (!ratio || !over_static) {
      record.measured = "no valid point";
      record.meaning = "The throughput was not measured: see the reasons of the rows.";
    } else {
      record.measured = fmt::format("{}x throughput", format_significant(ratio->value));
      record.meaning = fmt::format(
          "Continuous batching gives {} times the tokens per second of one request at a time ({}), "
          "and {} times those of static batches.{}",
          format_significant(ratio->value), lab::interval_text(ratio->interval), format_significant(over_static->value),
          latency_sentence(record));
      record.advice = ratio->interval.low > 1 ? "Serve with continuous batching, which the engine does by default."
                      : ratio->interval.high < 1
                          ? "Serve one request at a time here: a batch only adds to the latency."
                          : "Batching is not surely faster here; choose by the latency you can accept.";
    }
    charts(record);
    record.notes.push_back(
        "All ways run on one engine and one scheduler; only when a request is handed over differs. Prompts are random "
        "and never shared, prefix reuse is off. A static batch holds each place until its longest request has ended; "
        "its prompts are not padded, which a padded engine would have to do, so it is shown better than it would be.");
    engine_.reset();
    return ok();
  }

 private:
  static std::string named(std::size_t way, std::string_view seqs) {
    return fmt::format("{}, seqs {}", kBatchingWays[way].name, seqs);
  }

  // The seqs at which continuous batching gave the most tokens per second; empty if none was measured.
  static std::string best_seqs(const record::Experiment& record) {
    std::string seqs;
    double most = 0;
    for (const record::Row& row : record.rows) {
      const std::string *way = lab::find_axis(row, "way"), *load = lab::find_axis(row, "load");
      const record::Metric* rate = lab::find_metric(row, "output_throughput");
      if (!row.validity.valid || !way || !load || !rate || *load != "queue") continue;
      if (*way != kBatchingWays[kContinuous].name || rate->value <= most) continue;
      most = rate->value;
      seqs = lab::axis_of(row, "seqs");
    }
    return seqs;
  }

  // Time of `way` over that of continuous batching.
  static std::optional<Estimate> ratio_of(const record::Experiment& record, std::string_view seqs, std::size_t way) {
    for (const record::Comparison& comparison : record.comparisons)
      if (comparison.baseline == named(way, seqs) && comparison.candidate == named(kContinuous, seqs))
        return Estimate{comparison.ratio, comparison.ci95};
    return std::nullopt;
  }

  // The latency at the highest measured load that leaves some room.
  static std::string latency_sentence(const record::Experiment& record) {
    std::int64_t highest = 0;
    std::string sentence;
    for (const record::Row& row : record.rows) {
      const record::Metric *ttft = lab::find_metric(row, "ttft_p50"), *tpot = lab::find_metric(row, "tpot_p50");
      if (!row.validity.valid || !ttft || !tpot) continue;
      const std::int64_t percent = lab::number_of(row, "load").value_or(0);
      if (percent <= highest || percent > 80) continue;
      highest = percent;
      sentence = fmt::format(" At {}% of that load the median TTFT is {} and the median TPOT {}.", percent,
                             format_seconds({ttft->value}), format_seconds({tpot->value}));
    }
    return sentence;
  }

  static loadgen::Lengths lengths(const lab::Context& context) {
    loadgen::Lengths lengths = !context.full() ? kQuickLengths : context.on_gpu() ? kGpuLengths : kFullLengths;
    const std::int64_t most = context.model.config.max_positions;
    if (lengths.context() > most) {  // a model of a short context
      lengths.prompt_high = std::max<std::int64_t>(1, most / 2);
      lengths.output_high = std::max<std::int64_t>(1, most - lengths.prompt_high);
      lengths.prompt_low = std::min(lengths.prompt_low, lengths.prompt_high);
      lengths.output_low = std::min(lengths.output_low, lengths.output_high);
    }
    return lengths;
  }

  Status start_engine(lab::Context& context, std::int64_t seqs) {
    if (engine_ && engine_->options().max_seqs == seqs) return ok();
    engine_.reset();
    RL_ASSIGN(engine_, context.engine({.max_context = lengths(context).context(),
                                       .max_seqs = seqs,
                                       .step_tokens = std::max<std::int64_t>(512, seqs),
                                       .prefix_reuse = false}));
    return ok();
  }

  // How many of the requests one at a time serves in a sample. All of them where that is short; else fewer: a large
  // model alone would take most of the run. What a request takes alone does not depend on the others.
  std::size_t requests_alone(lab::Context& context, std::size_t requests, double tokens) const {
    const auto read = context.ceiling("read_bandwidth");
    if (!read) return requests;
    const double seconds = tokens * static_cast<double>(engine_->weight_bytes_per_token().count) / read->value;
    const double share = context.time({1}, {2}, {1}).count / context.effort / seconds;
    const auto n = static_cast<std::size_t>(share * static_cast<double>(requests));
    return std::clamp<std::size_t>(n, std::min<std::size_t>(requests, kLeastAlone), requests);
  }

  static void add_axes(record::Row& row, const char* way, const lab::Point& point, std::string load) {
    row.axes.emplace_back("way", way);
    for (const auto& [axis, value] : point.values()) row.axes.emplace_back(axis, axis == "load" ? load : value);
  }

  Status measure_queue(lab::Context& context, const lab::Point& point, record::Experiment& record) {
    const std::int64_t seqs = point.number("seqs"), requests = point.number("requests");
    const std::vector<loadgen::Arrival> arrivals =
        loadgen::make_requests(requests, lengths(context), context.model.config.vocab, context.seed);
    const double tokens = output_tokens(arrivals);
    const std::vector<loadgen::Arrival> alone =
        spread_by_length(arrivals, requests_alone(context, arrivals.size(), tokens));
    const bool all_alone = alone.size() == arrivals.size();
    RL_ASSIGN(std::string gate, compare_batching_tokens(*engine_, all_alone ? arrivals : alone, seqs));
    const double scale = tokens / output_tokens(alone);

    std::vector<measure::Task> tasks;
    std::int64_t thrown_away[std::size(kBatchingWays)] = {};
    for (std::size_t w = 0; w < std::size(kBatchingWays); ++w)
      tasks.push_back({.name = kBatchingWays[w].name, .run = [&, w]() -> Status {
                         loadgen::EngineTarget target(*engine_);
                         RL_ASSIGN(const loadgen::Load load,
                                   loadgen::serve_timed(target, w == kOneAtATime && !all_alone ? alone : arrivals,
                                                        {.policy = kBatchingWays[w].policy, .batch = seqs}));
                         thrown_away[w] = load.thrown_away;
                         return ok();
                       }});
    measure::Plan plan = context.plan();
    plan.warmup = 0;  // the gate ran them all
    plan.warmup_time = {};
    plan.min_samples = 6;
    plan.timeout = context.time({2}, {20}, {5});
    RL_ASSIGN(measure::GroupResult group, measure::run_group(plan, tasks));
    if (!all_alone) group.times[kOneAtATime] = measure::scaled(group.times[kOneAtATime], "time", "s", scale);

    for (std::size_t w = 0; w < std::size(kBatchingWays); ++w) {
      record::Metric time = group.times[w];
      time.timing = record::Timing::end_to_end;
      record::Row row{.metrics = {time}, .path = engine_->path(), .note = gate};
      if (w == kOneAtATime && !all_alone)
        row.note +=
            fmt::format("; timed on {} of the {} requests, spread evenly over their lengths, and scaled by tokens",
                        alone.size(), arrivals.size());
      add_axes(row, kBatchingWays[w].name, point, "queue");
      row.metrics.push_back(measure::rate_of(time, "output_throughput", "tok/s", tokens));
      row.metrics.push_back(
          measure::rate_of(time, "request_throughput", "req/s", static_cast<double>(arrivals.size())));
      row.metrics.push_back(
          {.name = "thrown_away_share",
           .unit = "1",
           .better = record::Better::lower,
           .value = static_cast<double>(thrown_away[w]) / (tokens + static_cast<double>(thrown_away[w])),
           .statistic = "count"});
      row.validity.warnings = measure::warnings_of(plan, time);
      record.rows.push_back(std::move(row));
    }
    for (record::Comparison comparison :
         {group.compare(kOneAtATime, kStaticBatch), group.compare(kOneAtATime, kContinuous),
          group.compare(kStaticBatch, kContinuous)}) {
      comparison.baseline += fmt::format(", seqs {}", seqs);
      comparison.candidate += fmt::format(", seqs {}", seqs);
      record.comparisons.push_back(std::move(comparison));
    }
    requests_per_second_[seqs] = static_cast<double>(requests) / group.times[kContinuous].value;
    return ok();
  }

  Status measure_arrivals(lab::Context& context, const lab::Point& point, record::Experiment& record) {
    const std::int64_t percent = point.number("load");
    const double per_second = 0.01 * static_cast<double>(percent) * requests_per_second_.at(point.number("seqs"));
    // Enough requests for p99, within a time: seconds of arrivals, at least and at most.
    const double least = context.time({1}, {60}, {3}).count, most = context.time({4}, {240}, {15}).count;
    const double seconds = std::clamp(static_cast<double>(kPercentileRequests) / per_second, least, most);
    RL_ASSIGN(record::Row row,
              measure_poisson(*engine_, {.per_second = per_second,
                                         .requests = std::max<std::int64_t>(
                                             20, static_cast<std::int64_t>(std::ceil(seconds * per_second))),
                                         .lengths = lengths(context),
                                         .slo = {.ttft = {1e-3 * static_cast<double>(point.number("ttft_ms"))},
                                                 .tpot = {1e-3 * static_cast<double>(point.number("tpot_ms"))}},
                                         .seed = context.seed}));
    add_axes(row, kBatchingWays[kContinuous].name, point, point.text("load"));
    record.rows.push_back(std::move(row));
    return ok();
  }

  Status measure_fit(lab::Context& context, record::Experiment& record) {
    // The weights, a quarter more, and at least 64 MiB more: room for some contexts and not for all.
    RL_ASSIGN(const engine::Engine* holder,
              context.weights.holder(context.model, context.backend, context.memory, engine_->options()));
    const Bytes weights = holder->memory_plan().of("weights");
    const Bytes memory = weights + Bytes{std::max<std::int64_t>(weights.count / 4, 64 << 20)};
    for (const std::int64_t tokens : kFitContext) {
      if (tokens > context.model.config.max_positions) continue;
      RL_ASSIGN(record::Row row, try_largest_batch(context, *engine_, weights, tokens, memory));
      row.axes = {{"way", "largest batch"}, {"load", "fit"}, {"context", std::to_string(tokens)}};
      record.rows.push_back(std::move(row));
    }
    record.notes.push_back(
        fmt::format("Fit: {} of memory; other memories, contexts and formats: `redline doctor --fit`.",
                    format_binary_bytes(memory)));
    return ok();
  }

  static void charts(record::Experiment& record) {
    record.charts.push_back({.title = "Throughput with all requests there at the start",
                             .x = "way",
                             .y = "output_throughput",
                             .series = "seqs",
                             .where = {{"load", "queue"}},
                             .bars = true});
    for (const auto& [metric, title] : {std::pair{"ttft_p50", "Median time to the first token by load"},
                                        {"ttft_p90", "Time to the first token by load, 90th percentile"},
                                        {"tpot_p50", "Median time per further token by load"},
                                        {"goodput", "Requests per second within the SLO by load"}})
      record.charts.push_back(
          {.title = title, .x = "load", .y = metric, .series = "seqs", .where = {{"way", "continuous"}}});
    record.charts.push_back({.title = "Sequences that fit a memory, by context",
                             .x = "context",
                             .y = "sequences",
                             .series = "way",
                             .where = {{"load", "fit"}},
                             .log_x = true,
                             .log_y = true});
  }

  std::unique_ptr<engine::Engine> engine_;
  std::map<std::int64_t, double> requests_per_second_;  // of continuous batching, by seqs
};

}  // namespace

lab::Entry batching() {
  return {.info = batching_info(),
          .make = []() -> std::unique_ptr<lab::Experiment> { return std::make_unique<BatchingExperiment>(); }};
}

}  // namespace rl::experiments
