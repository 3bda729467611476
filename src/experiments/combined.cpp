// The plan's "Expected Improvements": all techniques together. A ladder from the named baseline adds one technique at a
// time, then each is left out once of the whole; every rung is timed interleaved with what it is compared with, alone
// and with a queue of requests, its memory is counted and its outputs are compared with the baseline's. From the rungs:
// the plan's four totals, the techniques by what they gained, and what to use under the user's limits.

#include "experiments/combined.h"

#include "experiments/combined_conclude.h"
#include "experiments/energy.h"
#include "experiments/ladder.h"
#include "experiments/list.h"
#include "quality/assess.h"

namespace rl::experiments {
namespace {

const lab::Info& combined_info() {
  static const lab::Info info{
      .id = "combined",
      .title = "All together",
      .plan = "improvements",
      .question = "Which combination is best under the user's limits?",
      .baseline = "the named baseline: 16-bit weights, standard attention, one launch at a time, one request at a time",
      .expected = "2-4x speed, 3-5x tok/s",
      .axes = {{"rung", "baseline, a technique added to those before it, or without-X: all but X", rung_ids(),
                rung_ids()}},
      .hypotheses = {{.id = "combined.memory",
                      .claim = "50-70% reduction with Flash Attention and Quantization",
                      .metric = "memory saved, share of the baseline's",
                      .where = "rung format",
                      .expected = {0.5, 0.7}},
                     {.id = "combined.speed",
                      .claim = "2-4 times improvement with FP8 and CUDA optimizations",
                      .metric = "time of one request, baseline / rung",
                      .where = "rung graphs, or the last before it that this machine has",
                      .expected = {2, 4}},
                     {.id = "combined.power",
                      .claim = "20-30% better performance per watt with tuning",
                      .metric = "tokens per joule, best other power limit / present limit",
                      .where = "rung power",
                      .expected = {1.2, 1.3}},
                     {.id = "combined.throughput",
                      .claim = "3-5 times improvement with proper batching and streaming",
                      .metric = "tokens per second of a queue, rung / baseline",
                      .where = "rung batching",
                      .expected = {3, 5}}},
      .expected_quick = {35},
      .expected_full = {310},
      .expected_gpu = {88}};
  return info;
}

// Two unrelated logit vectors differ by 1.4 of their length (the square root of 2): half of it separates a coarse
// format from a wrong result.
constexpr double kLargestLogitsError = 0.5;
constexpr std::int64_t kGateTokens = 64;
constexpr std::size_t kScoredTokens = 2048;  // of a rung; the experiment quantization scores more
constexpr const char* kWhole = "all";
constexpr const char *kSpeed = "speed_over_baseline", *kThroughput = "throughput_over_baseline";
constexpr const char *kSpeedLost = "speed_given_up", *kThroughputLost = "throughput_given_up";
constexpr std::array kShares = {1.0, 0.8, 0.6};  // of the power limit found; the present one first
constexpr Seconds kQuickSettle{2};               // at most, after a limit was changed; in full mode the limit's window
constexpr std::array kFormats = {"fp8", "int8"};
constexpr std::int64_t kAloneOnGpu = 2;  // requests of the queue that are timed where they are served one at a time

// |b - a| / |a| over the logits of all tokens.
Result<double> logits_error(engine::Engine& a, engine::Engine& b, std::span<const TokenId> ids) {
  std::vector<float> expected;
  RL_TRY(a.score(ids, [&](std::int64_t, const TensorRef& logits) -> Status {
    expected.insert(expected.end(), logits.as<const float>(), logits.as<const float>() + logits.elements());
    return ok();
  }));
  double noise = 0, signal = 0;
  RL_TRY(b.score(ids, [&](std::int64_t first, const TensorRef& logits) -> Status {
    const float* const found = logits.as<const float>();
    const float* const base = expected.data() + first * logits.shape[1];
    for (std::int64_t i = 0; i < logits.elements(); ++i) {
      const double e = static_cast<double>(base[i]), difference = static_cast<double>(found[i]) - e;
      noise += difference * difference;
      signal += e * e;
    }
    return ok();
  }));
  return std::sqrt(noise / signal);
}

record::Metric counted(std::string name, std::string unit, record::Better better, double value) {
  return {.name = std::move(name), .unit = std::move(unit), .better = better, .value = value, .statistic = "count"};
}

record::Metric ratio_of(std::string name, const record::Comparison& comparison) {
  return {.name = std::move(name),
          .unit = "1",
          .better = record::Better::higher,
          .value = comparison.ratio,
          .statistic = "ratio",
          .ci95 = comparison.ci95,
          .timing = record::Timing::end_to_end};
}

class CombinedExperiment final : public lab::Experiment {
 public:
  explicit CombinedExperiment(EnergyParts parts) : parts_(std::move(parts)) {}
  const lab::Info& info() const override { return combined_info(); }

  Status begin(lab::Context& context, record::Experiment& record) override {
    load_ = !context.full()    ? LadderLoad{.shape = {.prompt = 128, .generated = 24}, .queued = 8}
            : context.on_gpu() ? LadderLoad{.shape = {.prompt = 512, .generated = 32}, .queued = 16}
                               : LadderLoad{.shape = {.prompt = 512, .generated = 64}, .queued = 16};
    load_.alone = context.on_gpu() ? kAloneOnGpu : load_.queued;
    record.notes.push_back(fmt::format(
        "Loads: one request alone, and {} requests queued at the start; each has {} random prompt tokens and gets {} "
        "tokens, greedily. Prefix reuse is off.{}",
        load_.queued, load_.shape.prompt, load_.shape.generated,
        load_.alone == load_.queued
            ? ""
            : fmt::format(" Rungs that serve one at a time were timed with {} of the queue, which are alike, and their "
                          "times scaled to all.",
                          load_.alone)));
    note_what_is_missing(context, record);
    RL_ASSIGN(baseline_, make_rung(context, *rung_from("baseline"), {}));
    if (judged(context) != nullptr) {
      RL_ASSIGN(text_, quality::read_text(*judged(context), ""));
      RL_ASSIGN(judged_baseline_, make_judged(context, *rung_from("baseline"), {}));
    }
    return choose_format(context, record);
  }

  Status measure(lab::Context& context, const lab::Point& point, record::Experiment& record) override {
    RL_ASSIGN(const Rung rung, rung_from(point.text("rung")));
    const std::optional<Technique> subject = rung.added ? rung.added : rung.left_out;
    record::Row row{.axes = point.values()};
    if (!subject) {
      RL_TRY(measure_baseline(context, row));
      add_energy(context, *baseline_, row);
    } else if (rung.left_out == Technique::power) {
      row.note = "rung batching is all but the power limit";
    } else if (!missing(*subject).empty()) {
      row.note = missing(*subject);
    } else {
      RL_ASSIGN(const std::unique_ptr<RungEngine> engine, make_rung(context, rung, format_));
      RL_TRY(check_outputs(context, rung, *engine, row));
      if (rung.added == Technique::power) {
        RL_TRY(lower_the_limit(context, *engine, row));
      } else if (rung.added) {
        if (rung.added == Technique::format) row.note = *format_;
        RL_TRY(compare(context, *baseline_, "baseline", *engine, rung.id, true, row, record));
        add_energy(context, *engine, row);
      } else {
        if (!whole_) {
          RL_ASSIGN(whole_, make_rung(context, *rung_from(id_of(kTechniques.back())), format_));
        }
        RL_TRY(compare(context, *engine, rung.id, *whole_, kWhole, false, row, record));
        add_energy(context, *engine, row);
      }
    }
    record.rows.push_back(std::move(row));
    return ok();
  }

  bool concludes_from_record() const override { return true; }

  Status conclude(lab::Context&, record::Experiment& record) override {
    conclude_ladder(record, missing_);
    baseline_.reset();
    whole_.reset();
    judged_baseline_.reset();
    weights_.drop();
    return ok();
  }

 private:
  const std::string& missing(Technique technique) const { return missing_[static_cast<std::size_t>(technique)]; }
  std::string& missing(Technique technique) { return missing_[static_cast<std::size_t>(technique)]; }

  void note_what_is_missing(const lab::Context& context, record::Experiment& record) {
    if (!context.backend.device->can_capture())
      missing(Technique::graphs) = "not on this machine: captured steps (CUDA graphs) need an NVIDIA GPU";
    const auto why = [](const Error& error) {
      return fmt::format("{}{}. To do: {}", error.what, error.found.empty() ? "" : fmt::format(" ({})", error.found),
                         error.hint);
    };
    auto sensor = open_sensor(context.backend.device->info(), parts_.powercap);
    if (!sensor) {
      missing(Technique::power) = "energy cannot be measured here: " + why(sensor.error());
      record.notes.push_back("No rung has energy_per_token, tokens_per_joule and power: " + why(sensor.error()));
      return;
    }
    sensor_ = std::move(*sensor);
    record.notes.push_back(
        fmt::format("Energy: {}, over the queue, after the timing; memory, disks and fans are not in it. All rungs but "
                    "power run at "
                    "the power limit found at the start.",
                    sensor_->name()));
    if (const auto limits = telemetry::PowerLimits::open(parts_.powercap); !limits)
      missing(Technique::power) = "no other power limit can be tried: " + why(limits.error());
  }

  // Whose quality stands for the formats': the run's model, or a trained one where that has drawn weights; null: none.
  static const model::ModelSource* judged(const lab::Context& context) {
    return context.model.synthetic ? context.trained : &context.model;
  }

  // The run's 16-bit weights are shared with other experiments, all others among the rungs.
  Result<std::unique_ptr<RungEngine>> make_rung(lab::Context& context, const Rung& rung,
                                                const std::optional<std::string>& format) {
    const bool other = rung.has(Technique::format) && format;
    return RungEngine::make(context, context.model, other ? weights_ : context.weights, rung, format, load_);
  }

  // The rung on the model whose quality is judged; null where that is the run's: then its own engine is judged.
  Result<std::unique_ptr<RungEngine>> make_judged(lab::Context& context, const Rung& rung,
                                                  const std::optional<std::string>& format) {
    if (judged(context) == &context.model) return std::unique_ptr<RungEngine>();
    return RungEngine::make(context, *judged(context), weights_, rung, format, load_);
  }

  double queue_tokens(const RungEngine& engine) const {
    return static_cast<double>(engine.served() * load_.shape.generated);
  }

  // The row's energy; where it cannot be had, why, as a warning: the times remain valid.
  void add_energy(const lab::Context& context, RungEngine& engine, record::Row& row) {
    if (!sensor_) return;  // begin() noted why
    auto found = measure_energy(context.plan(), *sensor_, parts_.now, engine.queue("energy"), queue_tokens(engine));
    if (!found) {
      row.validity.warnings.push_back("no energy: " + found.error().what);
      return;
    }
    for (record::Metric* metric : {&found->per_token, &found->tokens_per_joule, &found->power})
      row.metrics.push_back(std::move(*metric));
  }

  // The rung `power`: all other techniques on, at the share of the present limit that gives the most tokens per joule.
  Status lower_the_limit(const lab::Context& context, RungEngine& engine, record::Row& row) {
    RL_ASSIGN(const std::unique_ptr<telemetry::PowerLimits> limits, telemetry::PowerLimits::open(parts_.powercap));
    std::optional<EnergyMetrics> present, best;
    for (const double share : kShares) {
      RL_TRY(limits->set(share));
      parts_.sleep(context.full() ? limits->window() : std::min(limits->window(), kQuickSettle));
      RL_ASSIGN(EnergyMetrics found,
                measure_energy(context.plan(), *sensor_, parts_.now, engine.queue("energy"), queue_tokens(engine)));
      if (!present) {
        present = std::move(found);
      } else if (!best || found.tokens_per_joule.value > best->tokens_per_joule.value) {
        best = std::move(found);
        row.note = fmt::format("at {:.0f}% of the present power limit", 100 * share);
      }
    }
    RL_TRY(limits->restore());
    const record::Metric &high = best->tokens_per_joule, &base = present->tokens_per_joule;
    record::Metric gain{.name = kEfficiencyGain,
                        .unit = "1",
                        .better = record::Better::higher,
                        .value = high.value / base.value,
                        .statistic = "ratio",
                        .timing = record::Timing::end_to_end};
    if (high.ci95 && base.ci95)
      gain.ci95 = record::Interval{high.ci95->low / base.ci95->high, high.ci95->high / base.ci95->low};
    row.path = engine.engine().path();
    for (record::Metric* metric : {&gain, &best->per_token, &best->tokens_per_joule, &best->power, &best->throughput})
      row.metrics.push_back(std::move(*metric));
    return ok();
  }

  // The smallest of the 8-bit formats that run natively here and stay within the user's limits.
  Status choose_format(lab::Context& context, record::Experiment& record) {
    std::string refused;
    std::int64_t smallest = std::numeric_limits<std::int64_t>::max();
    for (const char* name : kFormats) {
      RL_ASSIGN(const std::unique_ptr<RungEngine> candidate,
                make_rung(context, *rung_from(id_of(Technique::format)), name));
      std::string reason;
      if (candidate->engine().emulated()) {
        reason = "emulated here";
      } else if (text_ && !context.model.synthetic) {
        RL_ASSIGN(const quality::Divergence found,
                  divergence(context, *rung_from(id_of(Technique::format)), name, *candidate));
        if (found.kld.value > context.limits.max_kld)
          reason = fmt::format("mean KLD {:.1e} is over {}", found.kld.value, context.limits.max_kld);
        else if (found.ppl_ratio.value > 1 + context.limits.max_ppl_loss)
          reason =
              fmt::format("perplexity x {:.4f} is over {}", found.ppl_ratio.value, 1 + context.limits.max_ppl_loss);
      }
      const std::int64_t bytes = candidate->weights().count;
      if (reason.empty() && bytes < smallest) {
        smallest = bytes;
        format_ = name;
      }
      if (!reason.empty()) refused += fmt::format("{}{}: {}", refused.empty() ? "" : "; ", name, reason);
      weights_.drop();  // one format at a time beside the 16-bit weights
    }
    if (!format_) missing(Technique::format) = "no 8-bit format fits: " + refused;
    record.notes.push_back(fmt::format("Format of the ladder: {}{}.", format_.value_or("none"),
                                       refused.empty() ? "" : fmt::format(" (left aside: {})", refused)));
    if (context.model.synthetic)
      record.notes.push_back(fmt::format(
          "The weights of {} are random numbers: {}.", context.model.name,
          text_ ? fmt::format("the rows' quality is that of {} with the same techniques, and decided about no format",
                              judged(context)->name)
                : std::string("no format's quality was judged, only its speed and size")));
    return ok();
  }

  Result<quality::Divergence> divergence(lab::Context& context, const Rung& rung,
                                         const std::optional<std::string>& format, RungEngine& candidate) {
    RL_ASSIGN(const std::unique_ptr<RungEngine> stand_in, make_judged(context, rung, format));
    RL_ASSIGN(const std::vector<quality::TokenScore> scores,
              quality::score_both(stand_in ? judged_baseline_->engine() : baseline_->engine(),
                                  stand_in ? stand_in->engine() : candidate.engine(),
                                  std::span(text_->ids).first(std::min<std::size_t>(text_->ids.size(), kScoredTokens)),
                                  {.window = load_.shape.prompt + 1, .bos = text_->bos, .progress = {}}));
    return quality::summarize(scores);
  }

  // Before timing: logits close to the baseline's; then, on a trained model, its quality.
  Status check_outputs(lab::Context& context, const Rung& rung, RungEngine& engine, record::Row& row) {
    const auto ids = lab::random_ids(kGateTokens, context.model.config.vocab, context.seed);
    RL_ASSIGN(const double error, logits_error(baseline_->engine(), engine.engine(), ids));
    row.metrics.push_back(counted("logits_error", "1", record::Better::lower, error));
    if (!(error <= kLargestLogitsError))
      return Error{.kind = ErrorKind::internal,
                   .what = fmt::format("the logits of rung {} are not the baseline's", rung.id),
                   .rule = "combined.logits",
                   .expected = fmt::format("a relative error of at most {}", kLargestLogitsError),
                   .found = fmt::format("{:.3g}", error)};
    if (!text_) return ok();
    RL_ASSIGN(const quality::Divergence found, divergence(context, rung, format_, engine));
    row.metrics.push_back(counted("mean_kld", "1", record::Better::lower, found.kld.value));
    row.metrics.push_back(counted("perplexity_ratio", "1", record::Better::lower, found.ppl_ratio.value));
    return ok();
  }

  Status measure_baseline(lab::Context& context, record::Row& row) {
    RL_ASSIGN(record::Metric one, measure::run(context.plan(), baseline_->one_request("baseline")));
    RL_ASSIGN(record::Metric queue, measure::run(context.plan(), baseline_->queue("baseline")));
    add_metrics(row, *baseline_, std::move(one), of_whole_queue(*baseline_, std::move(queue)));
    return ok();
  }

  // The time of the part of the queue that was served, as that of all of it.
  record::Metric of_whole_queue(const RungEngine& engine, record::Metric time) const {
    if (engine.served() == load_.queued) return time;
    return measure::scaled(time, time.name, time.unit,
                           static_cast<double>(load_.queued) / static_cast<double>(engine.served()));
  }

  void add_metrics(record::Row& row, RungEngine& engine, record::Metric one, record::Metric queue) const {
    one.name = "request_time";
    queue.name = "queue_time";
    one.timing = queue.timing = record::Timing::end_to_end;
    row.metrics.push_back(std::move(one));
    row.metrics.push_back(measure::rate_of(queue, "output_throughput", "tok/s",
                                           static_cast<double>(load_.queued * load_.shape.generated)));
    row.metrics.push_back(std::move(queue));
    row.metrics.push_back(
        counted("memory_bytes", "B", record::Better::lower, static_cast<double>(engine.memory().count)));
    row.path = engine.engine().path();
  }

  // Times both, interleaved, alone and with the queue; the row is the candidate's unless it leaves something out. The
  // other's samples get a row of their own.
  Status compare(lab::Context& context, RungEngine& a, const std::string& a_name, RungEngine& b,
                 const std::string& b_name, bool row_is_b, record::Row& row, record::Experiment& record) {
    RL_ASSIGN(measure::PairResult one, measure::run_pair(context.plan(), a.one_request(a_name), b.one_request(b_name)));
    measure::Plan queue_plan = context.plan();
    if (context.full()) queue_plan.least_samples = static_cast<int>(measure::kVerdictSamples);
    RL_ASSIGN(measure::GroupResult queue, measure::run_group(queue_plan, std::array{a.queue(a_name), b.queue(b_name)}));
    queue.times = {of_whole_queue(a, queue.times[0]), of_whole_queue(b, queue.times[1])};
    record::Comparison queue_comparison = queue.compare(0, 1);
    record::Row beside{.axes = {{"beside", row_is_b ? b_name : a_name}}};
    add_metrics(row_is_b ? beside : row, a, std::move(one.a), queue.times[0]);
    add_metrics(row_is_b ? row : beside, b, std::move(one.b), queue.times[1]);
    row.metrics.push_back(ratio_of(row_is_b ? kSpeed : kSpeedLost, one.comparison));
    row.metrics.push_back(ratio_of(row_is_b ? kThroughput : kThroughputLost, queue_comparison));
    one.comparison.metric = kOneRequest;
    queue_comparison.metric = kQueue;
    record.comparisons.push_back(one.comparison);
    record.comparisons.push_back(queue_comparison);
    record.rows.push_back(std::move(beside));
    return ok();
  }

  EnergyParts parts_;
  std::unique_ptr<telemetry::RaplSensor> sensor_;  // null: none here
  LadderLoad load_;
  Absences missing_;
  std::optional<quality::Text> text_;  // of a trained model
  std::optional<std::string> format_;
  lab::Weights weights_;  // of the formats, and of the model whose quality stands for the run's
  std::unique_ptr<RungEngine> baseline_, whole_;
  std::unique_ptr<RungEngine> judged_baseline_;  // null: baseline_ is judged itself
};

}  // namespace

std::unique_ptr<lab::Experiment> make_combined(EnergyParts parts) {
  return std::make_unique<CombinedExperiment>(std::move(parts));
}

lab::Entry combined() {
  return {.info = combined_info(), .make = []() -> std::unique_ptr<lab::Experiment> { return make_combined(); }};
}

}  // namespace rl::experiments
