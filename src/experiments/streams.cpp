// Experiment 3.2: several inputs one after the other, by N workers side by side, and as one batch.
//
// A "stream" of the plan is a worker here: a thread with an engine of its own over the same weights: on its share of
// the processors, or, on a GPU, on a stream of its own. The inputs of a worker are those of the plan's script: input i
// goes to worker i modulo N. All ways are timed in turns on the same inputs, after a gate that compares the tokens they
// generate; then one run of each is traced by timestamps of the device, which say what really ran side by side.

#include <thread>

#include <fmt/format.h>

#include "experiments/list.h"
#include "experiments/timeline.h"
#include "lab/conclude.h"
#include "lab/engine_load.h"
#include "loadgen/serve.h"

namespace rl::experiments {
namespace {

using lab::Estimate;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::int64_t kGateTokens = 8;          // generated from each input before anything is timed
constexpr std::int64_t kMostStepTokens = 16384;  // of the batch in one step; a larger one is cut into chunks
constexpr const char* kPlanTokens = "512";       // the plan's own case

const lab::Info& streams_info() {
  static const lab::Info info{.id = "streams",
                              .title = "Several streams",
                              .plan = "3.2",
                              .question = "Do concurrent streams beat one after the other, and beat one batch?",
                              .baseline = "the inputs one after the other, each with all processors",
                              .expected = "faster than in turn",
                              .axes = {{"inputs", "prompts, all there at the start", {"16"}, {"16"}},
                                       {"tokens", "of each prompt", {"512"}, {"128", "512", "2048"}, {"512"}},
                                       {"workers",
                                        "that work side by side, on a GPU each on a stream of its own",
                                        {"2"},
                                        {"2", "4"},
                                        {"2", "4", "8"}}},
                              .hypotheses = {{.id = "streams.speed",
                                              .claim = "Maximize GPU utilization through concurrent inference streams",
                                              .metric = "time of all inputs, one after the other / N workers",
                                              .where = "geometric mean over points",
                                              .expected = {1, kInfinity}},
                                             {.id = "streams.batch",
                                              .claim = "Maximize GPU utilization through concurrent inference streams",
                                              .metric = "time of all inputs, one batch / N workers",
                                              .where = "geometric mean over points",
                                              .expected = {1, kInfinity}}},
                              .expected_quick = {12},
                              .expected_full = {80},
                              .expected_gpu = {31}};
  return info;
}

record::Metric counted(std::string name, std::string unit, record::Better better, double value) {
  return {.name = std::move(name), .unit = std::move(unit), .better = better, .value = value, .statistic = "count"};
}

using Tokens = std::vector<std::vector<TokenId>>;  // of each input

// One way to work through the inputs: engines that work side by side, each on its part of the inputs.
class Way {
 public:
  std::string name, note;

  Way(std::string n, std::vector<std::vector<TokenId>> prompts) : name(std::move(n)), prompts_(std::move(prompts)) {}

  // The engine was made on the device.
  void add(std::unique_ptr<engine::Engine> engine, std::unique_ptr<WatchedDevice> device) {
    devices_.push_back(std::move(device));
    engines_.push_back(std::move(engine));
  }
  const engine::Engine& engine() const { return *engines_.front(); }
  // Beyond the weights, which all ways share.
  Bytes memory() const {
    Bytes sum;
    for (const auto& engine : engines_) sum += engine->memory_plan().total() - engine->memory_plan().of("weights");
    return sum;
  }
  bool batch_invariant() const {
    return std::all_of(engines_.begin(), engines_.end(), [](const auto& engine) { return engine->batch_invariant(); });
  }

  // The tokens generated from each input.
  Result<Tokens> generate(std::int64_t tokens) {
    RL_ASSIGN(const std::vector<loadgen::Load> loads, run_all(tokens, nullptr));
    Tokens all(prompts_.size());
    for (std::size_t w = 0; w < loads.size(); ++w)
      for (std::size_t i = 0; i < loads[w].requests.size(); ++i)
        all[w + i * loads.size()] = loads[w].requests[i].tokens;
    return all;
  }

  // What is timed: every input to its first token. Keeps when the first and the last were done, and the mean.
  Status run() {
    const Seconds start = loadgen::real_clock().now();
    RL_ASSIGN(const std::vector<loadgen::Load> loads, run_all(1, nullptr));
    double first = kInfinity, last = 0, sum = 0;
    for (const loadgen::Load& load : loads)
      for (const loadgen::Served& served : load.requests) {
        const double done = (load.start + served.times.front() - start).count;
        first = std::min(first, done);
        last = std::max(last, done);
        sum += done;
      }
    first_.push_back(first);
    last_.push_back(last);
    mean_.push_back(sum / static_cast<double>(prompts_.size()));
    return ok();
  }

  // The same once more, with the steps' times by the device.
  Result<Overlap> trace() {
    RL_ASSIGN(const std::unique_ptr<Event> origin, devices_.front()->make_timed_event());
    RL_TRY(devices_.front()->stream()->record(*origin));
    RL_TRY(devices_.front()->stream()->synchronize());
    std::vector<std::vector<Span>> spans(engines_.size());
    const Trace into{origin.get(), &spans};
    RL_TRY(run_all(1, &into));
    return overlap_of(spans);
  }

  // Latencies of the samples that were timed: the runs after the warm-up.
  std::vector<record::Metric> latencies(const record::Metric& time) const {
    std::vector<record::Metric> metrics;
    for (const auto& [title, all] :
         {std::pair{"latency_first", &first_}, {"latency_mean", &mean_}, {"latency_last", &last_}}) {
      record::Metric metric{.name = title, .unit = "s", .better = record::Better::lower, .timing = time.timing};
      metric.seed = time.seed;
      metric.stop = time.stop;
      metric.warmup = time.warmup;
      metric.samples.assign(all->end() - std::ssize(time.samples), all->end());
      measure::summarise(metric);
      metrics.push_back(std::move(metric));
    }
    return metrics;
  }

 private:
  struct Trace {
    const Event* origin;
    std::vector<std::vector<Span>>* spans;  // by worker
  };

  bool batch() const { return name == "batch"; }

  Result<loadgen::Load> run_part(std::size_t worker, std::int64_t tokens, const Trace* trace) {
    std::vector<loadgen::Arrival> arrivals;
    for (std::size_t i = worker; i < prompts_.size(); i += engines_.size())
      arrivals.push_back({.request = {.prompt = prompts_[i], .max_tokens = tokens}});
    loadgen::EngineTarget target(*engines_[worker]);
    const loadgen::Admission admission{.policy =
                                           batch() ? loadgen::Policy::continuous : loadgen::Policy::one_at_a_time};
    if (trace == nullptr) return loadgen::serve_timed(target, arrivals, admission);
    TimedTarget timed(*devices_[worker], target);
    RL_ASSIGN(loadgen::Load load, loadgen::serve(timed, arrivals, admission));
    RL_ASSIGN((*trace->spans)[worker], timed.spans(*trace->origin));
    return load;
  }

  Result<std::vector<loadgen::Load>> run_all(std::int64_t tokens, const Trace* trace) {
    std::vector<Result<loadgen::Load>> results(engines_.size(), loadgen::Load{});
    std::vector<std::thread> threads;  // the first worker is this thread
    for (std::size_t w = 1; w < engines_.size(); ++w)
      threads.emplace_back([this, w, tokens, trace, &results] { results[w] = run_part(w, tokens, trace); });
    results[0] = run_part(0, tokens, trace);
    for (std::thread& thread : threads) thread.join();
    std::vector<loadgen::Load> loads;
    for (auto& result : results) {
      RL_ASSIGN(loadgen::Load load, std::move(result));
      loads.push_back(std::move(load));
    }
    return loads;
  }

  std::vector<std::vector<TokenId>> prompts_;
  std::vector<std::unique_ptr<WatchedDevice>> devices_;  // they outlive the engines
  std::vector<std::unique_ptr<engine::Engine>> engines_;
  std::vector<double> first_, mean_, last_;
};

class StreamsExperiment final : public lab::Experiment {
 public:
  const lab::Info& info() const override { return streams_info(); }

  Status available(const lab::Context& context) const override {
    if (context.backend.device->info().compute_units >= 2) return ok();
    return Error{.kind = ErrorKind::unsupported,
                 .what = "workers side by side need two processors; this program may use one",
                 .hint = "run it with two threads or more: --threads 2"};
  }

  Status measure(lab::Context& context, const lab::Point& point, record::Experiment& record) override {
    const int workers = static_cast<int>(point.number("workers"));
    const int processors = context.backend.device->info().compute_units;
    if (workers > processors) {
      record.notes.push_back(fmt::format("{} was not measured: {} processors", point.label(), processors));
      return ok();
    }
    RL_ASSIGN(const bool fits, context.has_room("tokens", point.label(), point.number("tokens") + kGateTokens, record));
    if (!fits) return ok();
    RL_ASSIGN(std::vector<Way> ways, make_ways(context, point));
    RL_ASSIGN(const std::string gate, compare_tokens(ways));

    measure::Plan plan = context.plan();
    plan.warmup = 0;  // the gate ran them all
    plan.warmup_time = {};
    plan.min_samples = 6;
    plan.timeout = context.time({2.8}, {12}, {2.2});
    std::vector<measure::Task> tasks;
    for (Way& way : ways) tasks.push_back({.name = way.name, .run = [&way] { return way.run(); }});
    RL_ASSIGN(const measure::GroupResult group, measure::run_group(plan, tasks));

    std::vector<Overlap> overlaps;
    for (Way& way : ways) {
      RL_ASSIGN(overlaps.emplace_back(), way.trace());
    }

    const double tokens = static_cast<double>(point.number("inputs") * point.number("tokens"));
    for (std::size_t i = 0; i < ways.size(); ++i) {
      record::Metric time = group.times[i];
      time.timing = record::Timing::end_to_end;
      record::Row row{.axes = point.values(), .metrics = {time}, .path = ways[i].engine().path()};
      row.axes.insert(row.axes.begin(), {"way", ways[i].name});
      row.metrics.push_back(measure::rate_of(time, "prefill_throughput", "tok/s", tokens));
      for (record::Metric& latency : ways[i].latencies(time)) row.metrics.push_back(std::move(latency));
      row.metrics.push_back(
          counted("memory_beyond_weights", "B", record::Better::lower, static_cast<double>(ways[i].memory().count)));
      row.metrics.push_back(counted("overlap_share", "1", record::Better::neither, overlaps[i].share));
      row.metrics.push_back(counted("steps_at_once", "1", record::Better::neither, overlaps[i].mean));
      row.metrics.push_back(counted("traced_step", "s", record::Better::neither, overlaps[i].step.count));
      row.validity.warnings = measure::warnings_of(plan, time);
      row.note = ways[i].note + "; " + gate;
      record.rows.push_back(std::move(row));
    }
    record::Comparison with_batch = group.compare(kBatch, kWorkers);
    for (record::Comparison comparison : {group.comparisons[0], group.comparisons[1], with_batch}) {
      comparison.baseline += ", " + point.label();
      comparison.candidate += ", " + point.label();
      record.comparisons.push_back(std::move(comparison));
    }
    return ok();
  }

  bool concludes_from_record() const override { return true; }

  Status conclude(lab::Context&, record::Experiment& record) override {
    const std::vector<Estimate> workers = estimates(record, kNames[0], kNames[kWorkers]),
                                batch = estimates(record, kNames[0], kNames[kBatch]),
                                over_batch = estimates(record, kNames[kBatch], kNames[kWorkers]);
    const auto speed = lab::geometric_mean(workers), batched = lab::geometric_mean(batch),
               against = lab::geometric_mean(over_batch);
    lab::conclude_hypothesis(record, "streams.speed", speed, "no valid point");
    lab::conclude_hypothesis(record, "streams.batch", against, "no valid point");
    record.outcome = lab::overall(record);
    if (!speed) {
      record.measured = "no valid point";
      record.meaning = "Nothing was measured: see the reasons of the rows.";
      return ok();
    }
    record.measured =
        fmt::format("{}x; one batch {}x", format_significant(speed->value), format_significant(batched->value));
    record.meaning = fmt::format(
        "Workers side by side give {} times the throughput of one input after the other ({}), one batch {} times "
        "({}).{}",
        format_significant(speed->value), lab::interval_text(speed->interval), format_significant(batched->value),
        lab::interval_text(batched->interval), overlap_sentence(record));
    record.advice = advice(*speed, *batched, *against);
    const std::vector<std::pair<std::string, std::string>> where = plan_point(record);
    record.charts.push_back({.title = "Throughput of all inputs",
                             .x = "workers",
                             .y = "prefill_throughput",
                             .series = "way",
                             .where = where,
                             .bars = true});
    record.charts.push_back({.title = "When the first input is done",
                             .x = "workers",
                             .y = "latency_first",
                             .series = "way",
                             .where = where,
                             .bars = true});
    record.charts.push_back({.title = "When the mean input is done",
                             .x = "workers",
                             .y = "latency_mean",
                             .series = "way",
                             .where = where,
                             .bars = true});
    record.notes.push_back(
        "Every way computes each prompt from an empty cache to its first token. Latencies count from the moment at "
        "which all inputs are there; starting the workers' threads is part of the time. Overlap (share of the time at "
        "which two or more steps were on the device, steps at once, median length of a step) is of one more run, "
        "by timestamps that each worker's stream took before and after each step.");
    return ok();
  }

 private:
  static constexpr std::size_t kWorkers = 1, kBatch = 2;  // of the ways; 0: one after the other
  static constexpr const char* kNames[] = {"sequential", "workers", "batch"};

  // Of every point's comparison of these two ways.
  static std::vector<Estimate> estimates(const record::Experiment& record, std::string_view baseline,
                                         std::string_view candidate) {
    std::vector<Estimate> found;
    for (const record::Comparison& comparison : record.comparisons)
      if (comparison.baseline.starts_with(baseline) && comparison.candidate.starts_with(candidate))
        found.push_back({comparison.ratio, comparison.ci95});
    return found;
  }

  static Result<std::vector<Way>> make_ways(lab::Context& context, const lab::Point& point) {
    const std::int64_t inputs = point.number("inputs"), tokens = point.number("tokens");
    const int workers = static_cast<int>(point.number("workers"));
    std::vector<std::vector<TokenId>> prompts;
    for (std::int64_t i = 0; i < inputs; ++i)
      prompts.push_back(
          lab::random_ids(tokens, context.model.config.vocab, context.seed, static_cast<std::uint64_t>(i)));

    engine::EngineOptions one{.max_context = tokens + kGateTokens,
                              .max_seqs = 1,
                              .step_tokens = std::min(tokens, kMostStepTokens),
                              .prefix_reuse = false};
    engine::EngineOptions all = one;
    all.max_seqs = inputs;
    all.step_tokens = std::clamp(inputs * tokens, inputs, std::max(inputs, kMostStepTokens));
    std::vector<Way> ways;
    ways.emplace_back(kNames[0], prompts).note =
        context.on_gpu() ? std::string("one engine, one stream")
                         : fmt::format("one engine, {} threads", context.backend.device->info().compute_units);
    RL_ASSIGN(const std::unique_ptr<engine::Engine> weights, context.engine(one));
    const auto add = [&](Way& way, std::unique_ptr<WatchedDevice> device,
                         const engine::EngineOptions& options) -> Status {
      ops::Backend backend = context.backend;
      backend.device = device.get();
      RL_ASSIGN(auto engine, engine::Engine::make_beside(*weights, backend, context.memory, options));
      way.add(std::move(engine), std::move(device));
      return ok();
    };
    const auto whole = [&] { return std::make_unique<WatchedDevice>(*context.backend.device); };
    RL_TRY(add(ways[0], whole(), one));

    Way& side_by_side = ways.emplace_back(kNames[kWorkers], prompts);
    for (int w = 0; w < workers; ++w) {
      RL_ASSIGN(auto share, context.backend.device->make_share(w, workers));
      side_by_side.note += context.on_gpu() ? (w == 0 ? fmt::format("{} threads, a stream each", workers) : "")
                                            : fmt::format("{}{}", w == 0 ? "threads of the workers: " : " + ",
                                                          share->info().compute_units);
      RL_TRY(add(side_by_side, std::make_unique<WatchedDevice>(std::move(share)), one));
    }

    Way& batch = ways.emplace_back(kNames[kBatch], prompts);
    const std::int64_t steps = (inputs * tokens + all.step_tokens - 1) / all.step_tokens;
    batch.note = steps == 1 ? fmt::format("all inputs in one step of {} tokens", inputs * tokens)
                            : fmt::format("all inputs in {} steps of at most {} tokens", steps, all.step_tokens);
    RL_TRY(add(batch, whole(), all));
    return ways;
  }

  // The gate: every way generates the same tokens from every input where the variants promise that a row's bits do not
  // depend on its batch. Where they do not, the batch may differ, and the note says by how much; workers may never:
  // their steps have the shapes of one after the other.
  static Result<std::string> compare_tokens(std::vector<Way>& ways) {
    std::vector<Tokens> tokens;
    bool invariant = true;
    for (Way& way : ways) {
      RL_ASSIGN(Tokens generated, way.generate(kGateTokens));
      tokens.push_back(std::move(generated));
      invariant = invariant && way.batch_invariant();
    }
    std::size_t batch_differs = 0;
    for (std::size_t w = 1; w < ways.size(); ++w)
      for (std::size_t i = 0; i < tokens[0].size(); ++i) {
        if (tokens[w][i] == tokens[0][i]) continue;
        if (w == kBatch && !invariant) {
          ++batch_differs;
          continue;
        }
        return Error{
            .kind = ErrorKind::internal,
            .what = fmt::format("{} generates other tokens from input {} than one after the other", ways[w].name, i),
            .rule = "streams.gate",
            .expected = fmt::format("{}", fmt::join(tokens[0][i], " ")),
            .found = fmt::format("{}", fmt::join(tokens[w][i], " "))};
      }
    if (invariant) return fmt::format("all ways generate the same {} tokens from each input", kGateTokens);
    return fmt::format("the variants do not promise equal output in a batch: {} of {} inputs differ there",
                       batch_differs, tokens[0].size());
  }

  static std::string advice(const Estimate& workers, const Estimate& batch, const Estimate& against) {
    if (against.interval.high < 1)
      return batch.interval.low > 1
                 ? "Batch: one batch beats workers side by side, and one input after the other."
                 : "Batch rather than run side by side, though it is not surely faster than one after the other.";
    if (against.interval.low > 1)
      return workers.interval.low > 1
                 ? "Workers side by side win here: use them where inputs are alike and all there."
                 : "Work on one input after the other: neither workers nor a batch are surely faster.";
    if (workers.interval.low > 1 || batch.interval.low > 1)
      return "Workers and one batch are not surely different here: batch, which needs one engine and takes what comes.";
    return "Work on one input after the other: neither workers nor a batch are surely faster.";
  }

  // Charts are drawn over the workers, at the other values of the plan's own case, or of the first valid row.
  static std::vector<std::pair<std::string, std::string>> plan_point(const record::Experiment& record) {
    const record::Row* drawn = nullptr;
    for (const record::Row& row : record.rows) {
      if (!row.validity.valid) continue;
      const bool plan = lab::axis_of(row, "tokens") == kPlanTokens;
      if (drawn == nullptr || (plan && lab::axis_of(*drawn, "tokens") != kPlanTokens)) drawn = &row;
    }
    std::vector<std::pair<std::string, std::string>> where;
    if (drawn == nullptr) return where;
    for (const auto& [axis, value] : drawn->axes)
      if (axis != "way" && axis != "workers") where.emplace_back(axis, value);
    return where;
  }

  // What the device's timestamps say of the most workers, at the charts' other values.
  static std::string overlap_sentence(const record::Experiment& record) {
    const auto where = plan_point(record);
    const record::Row *side_by_side = nullptr, *in_turn = nullptr;
    std::int64_t most = 0;
    for (const record::Row& row : record.rows) {
      if (!row.validity.valid) continue;
      const bool drawn = std::all_of(where.begin(), where.end(), [&](const auto& value) {
        const std::string* found = lab::find_axis(row, value.first);
        return found != nullptr && *found == value.second;
      });
      const std::int64_t workers = lab::number_of(row, "workers").value_or(0);
      if (!drawn || workers < most) continue;
      if (workers > most) side_by_side = in_turn = nullptr;
      most = workers;
      const std::string& way = lab::axis_of(row, "way");
      if (way == kNames[0]) in_turn = &row;
      if (way == kNames[kWorkers]) side_by_side = &row;
    }
    if (side_by_side == nullptr || in_turn == nullptr) return "";
    const double at_once = lab::value_of(*side_by_side, "steps_at_once"),
                 longer = lab::value_of(*side_by_side, "traced_step") / lab::value_of(*in_turn, "traced_step");
    if (!std::isfinite(at_once + longer)) return "";
    return fmt::format(
        " By the device's timestamps {} workers had {} steps under way at once, each {} times as long as alone.", most,
        format_significant(at_once, 2), format_significant(longer, 2));
  }
};

}  // namespace

lab::Entry streams() {
  return {.info = streams_info(),
          .make = []() -> std::unique_ptr<lab::Experiment> { return std::make_unique<StreamsExperiment>(); }};
}

}  // namespace rl::experiments
