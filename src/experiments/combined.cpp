// The plan's "Expected Improvements": all techniques together. A ladder from the named baseline adds one technique at a
// time, then each is left out once of the whole; every rung is timed interleaved with what it is compared with, alone
// and with a queue of requests, its memory is counted and its outputs are compared with the baseline's. From the rungs:
// the plan's four totals, the techniques by what they gained, and what to use under the user's limits.

#include <fmt/ranges.h>

#include "experiments/ladder.h"
#include "experiments/list.h"
#include "lab/conclude.h"
#include "quality/assess.h"

namespace rl::experiments {
namespace {

using lab::Estimate;

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
                      .metric = "tokens per joule, rung / the rung before it",
                      .where = "rung power",
                      .expected = {1.2, 1.3}},
                     {.id = "combined.throughput",
                      .claim = "3-5 times improvement with proper batching and streaming",
                      .metric = "tokens per second of a queue, rung / baseline",
                      .where = "rung batching",
                      .expected = {3, 5}}},
      .expected_quick = {40},
      .expected_full = {240}};
  return info;
}

// Two unrelated logit vectors differ by 1.4 of their length (the square root of 2): half of it separates a coarse
// format from a wrong result.
constexpr double kLargestLogitsError = 0.5;
constexpr std::int64_t kGateTokens = 64;
constexpr std::size_t kScoredTokens = 2048;  // of a rung; the experiment quantization scores more
constexpr double kSmallestSaving = 0.02;     // of memory, below which nothing was saved
constexpr const char *kWhole = "all", *kOneRequest = "time of one request", *kQueue = "time of the queue";
constexpr const char *kSpeed = "speed_over_baseline", *kThroughput = "throughput_over_baseline";
constexpr const char *kSpeedLost = "speed_given_up", *kThroughputLost = "throughput_given_up";
constexpr std::array kFormats = {"fp8", "int8"};

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

// What leaving a technique out, or adding it, changed; ratios above 1 are in its favour.
struct Gain {
  Estimate speed, throughput;
  record::Verdict speed_verdict = record::Verdict::inconclusive, throughput_verdict = record::Verdict::inconclusive;
  double memory = 1;  // without / with
};

class CombinedExperiment final : public lab::Experiment {
 public:
  const lab::Info& info() const override { return combined_info(); }

  Status begin(lab::Context& context, record::Experiment& record) override {
    load_ = context.full() ? LadderLoad{.shape = {.prompt = 512, .generated = 64}, .queued = 16}
                           : LadderLoad{.shape = {.prompt = 128, .generated = 24}, .queued = 8};
    record.notes.push_back(fmt::format(
        "Loads: one request alone, and {} requests queued at the start; each has {} random prompt tokens and gets {} "
        "tokens, greedily. Prefix reuse is off.",
        load_.queued, load_.shape.prompt, load_.shape.generated));
    note_what_is_missing(context);
    RL_ASSIGN(baseline_, RungEngine::make(context, *rung_from("baseline"), {}, load_));
    if (!context.model.synthetic) {
      RL_ASSIGN(text_, quality::read_text(context.model, ""));
    }
    return choose_format(context, record);
  }

  Status measure(lab::Context& context, const lab::Point& point, record::Experiment& record) override {
    RL_ASSIGN(const Rung rung, rung_from(point.text("rung")));
    const std::optional<Technique> subject = rung.added ? rung.added : rung.left_out;
    record::Row row{.axes = point.values()};
    if (!subject) {
      RL_TRY(measure_baseline(context, row));
    } else if (!missing(*subject).empty()) {
      row.note = missing(*subject);
    } else {
      RL_ASSIGN(const std::unique_ptr<RungEngine> engine, RungEngine::make(context, rung, format_, load_));
      RL_TRY(check_outputs(context, rung, *engine, row));
      if (rung.added) {
        if (rung.added == Technique::format) row.note = *format_;
        RL_TRY(compare(context, *baseline_, "baseline", *engine, rung.id, true, row, record));
      } else {
        if (!whole_) {
          RL_ASSIGN(whole_, RungEngine::make(context, *rung_from(id_of(kTechniques.back())), format_, load_));
        }
        RL_TRY(compare(context, *engine, rung.id, *whole_, kWhole, false, row, record));
      }
    }
    record.rows.push_back(std::move(row));
    return ok();
  }

  bool concludes_from_record() const override { return true; }

  Status conclude(lab::Context&, record::Experiment& record) override {
    read(record);
    conclude_totals(record);
    const std::vector<Ranked> ranking = rank(record);
    headline(record, ranking);
    charts(record);
    baseline_.reset();
    whole_.reset();
    return ok();
  }

 private:
  struct Measured {
    Technique technique;
    Gain over_baseline;
  };
  struct Ranked {
    Technique technique;
    Gain gain;
    double score = 1;  // geometric mean of the two speed ratios
  };

  const std::string& missing(Technique technique) const { return missing_[static_cast<std::size_t>(technique)]; }
  std::string& missing(Technique technique) { return missing_[static_cast<std::size_t>(technique)]; }

  void note_what_is_missing(const lab::Context& context) {
    if (!context.backend.device->can_capture())
      missing(Technique::graphs) = "not on this machine: captured steps (CUDA graphs) need an NVIDIA GPU";
    missing(Technique::power) = "not part of the ladder: the experiment power tries limits where the machine has them";
  }

  // The smallest of the 8-bit formats that run natively here and stay within the user's limits.
  Status choose_format(lab::Context& context, record::Experiment& record) {
    std::string refused;
    std::int64_t smallest = std::numeric_limits<std::int64_t>::max();
    for (const char* name : kFormats) {
      RL_ASSIGN(const std::unique_ptr<RungEngine> candidate,
                RungEngine::make(context, *rung_from(id_of(Technique::format)), name, load_));
      std::string reason;
      if (candidate->engine().emulated()) {
        reason = "emulated here";
      } else if (text_) {
        RL_ASSIGN(const quality::Divergence found, divergence(*candidate));
        if (found.kld.value > context.limits.max_kld)
          reason = fmt::format("mean KLD {:.1e} is over {}", found.kld.value, context.limits.max_kld);
        else if (found.ppl_ratio.value > 1 + context.limits.max_ppl_loss)
          reason =
              fmt::format("perplexity x {:.4f} is over {}", found.ppl_ratio.value, 1 + context.limits.max_ppl_loss);
      }
      const std::int64_t bytes = candidate->engine().memory_plan().of("weights").count;
      if (reason.empty() && bytes < smallest) {
        smallest = bytes;
        format_ = name;
      }
      if (!reason.empty()) refused += fmt::format("{}{}: {}", refused.empty() ? "" : "; ", name, reason);
    }
    if (!format_) missing(Technique::format) = "no 8-bit format fits: " + refused;
    record.notes.push_back(fmt::format("Format of the ladder: {}{}.", format_.value_or("none"),
                                       refused.empty() ? "" : fmt::format(" (left aside: {})", refused)));
    if (!text_)
      record.notes.push_back(
          "The weights are random numbers: no format's quality was judged, only its speed and size.");
    return ok();
  }

  Result<quality::Divergence> divergence(RungEngine& candidate) {
    RL_ASSIGN(const std::vector<quality::TokenScore> scores,
              quality::score_both(baseline_->engine(), candidate.engine(),
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
    RL_ASSIGN(const quality::Divergence found, divergence(engine));
    row.metrics.push_back(counted("mean_kld", "1", record::Better::lower, found.kld.value));
    row.metrics.push_back(counted("perplexity_ratio", "1", record::Better::lower, found.ppl_ratio.value));
    return ok();
  }

  Status measure_baseline(lab::Context& context, record::Row& row) {
    RL_ASSIGN(record::Metric one, measure::run(context.plan(), baseline_->one_request("baseline")));
    RL_ASSIGN(record::Metric queue, measure::run(context.plan(), baseline_->queue("baseline")));
    add_metrics(row, *baseline_, std::move(one), std::move(queue));
    return ok();
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
    RL_ASSIGN(measure::PairResult queue, measure::run_pair(context.plan(), a.queue(a_name), b.queue(b_name)));
    record::Row beside{.axes = {{"beside", row_is_b ? b_name : a_name}}};
    add_metrics(row_is_b ? beside : row, a, std::move(one.a), std::move(queue.a));
    add_metrics(row_is_b ? row : beside, b, std::move(one.b), std::move(queue.b));
    row.metrics.push_back(ratio_of(row_is_b ? kSpeed : kSpeedLost, one.comparison));
    row.metrics.push_back(ratio_of(row_is_b ? kThroughput : kThroughputLost, queue.comparison));
    one.comparison.metric = kOneRequest;
    queue.comparison.metric = kQueue;
    record.comparisons.push_back(one.comparison);
    record.comparisons.push_back(queue.comparison);
    record.rows.push_back(std::move(beside));
    return ok();
  }

  // What the rows and comparisons say.
  void read(const record::Experiment& record) {
    rungs_.clear();
    left_out_.clear();
    double baseline = 0, whole = 0;  // bytes
    for (const bool left_out : {false, true})
      for (const record::Row& row : record.rows) {
        const std::string* id = lab::find_axis(row, "rung");
        const record::Metric* memory = lab::find_metric(row, "memory_bytes");
        if (id == nullptr || !row.validity.valid) continue;
        const auto rung = rung_from(*id);
        if (!rung || rung->left_out.has_value() != left_out) continue;
        const std::optional<Technique> subject = rung->added ? rung->added : rung->left_out;
        if (subject && memory == nullptr) missing(*subject) = row.note;
        if (rung->added == Technique::format && memory != nullptr) format_ = row.note;
        if (memory == nullptr) continue;
        if (!left_out) (rung->added ? whole : baseline) = memory->value;
        if (!subject) continue;
        Gain gain{.memory = left_out ? memory->value / whole : baseline / memory->value};
        for (const record::Comparison& comparison : record.comparisons) {
          if ((left_out ? comparison.baseline : comparison.candidate) != *id) continue;
          const bool one = comparison.metric == kOneRequest;
          (one ? gain.speed : gain.throughput) = {comparison.ratio, comparison.ci95};
          (one ? gain.speed_verdict : gain.throughput_verdict) = comparison.verdict;
        }
        if (left_out)
          left_out_.emplace_back(*subject, gain);
        else
          rungs_.push_back({*subject, gain});
      }
  }

  const Measured* rung_of(Technique technique) const {
    for (const Measured& rung : rungs_)
      if (rung.technique == technique) return &rung;
    return nullptr;
  }

  void conclude_totals(record::Experiment& record) const {
    const auto reason = [&](Technique technique) {
      return missing(technique).empty() ? "the rung was not measured" : missing(technique);
    };
    std::optional<Estimate> memory, speed, throughput;
    if (const Measured* rung = rung_of(Technique::format);
        rung && rung->over_baseline.memory > 0 && rung_of(Technique::flash)) {
      const double saved = 1 - 1 / rung->over_baseline.memory;
      memory = Estimate{saved, {saved, saved}};
    }
    lab::conclude_hypothesis(record, "combined.memory", memory, reason(Technique::format));
    for (const Technique technique : {Technique::flash, Technique::format, Technique::graphs})
      if (const Measured* rung = rung_of(technique)) speed = rung->over_baseline.speed;
    lab::conclude_hypothesis(record, "combined.speed", speed, "no rung was measured");
    if (const Measured* rung = rung_of(Technique::batching)) throughput = rung->over_baseline.throughput;
    lab::conclude_hypothesis(record, "combined.throughput", throughput, reason(Technique::batching));
    for (record::Hypothesis& hypothesis : record.hypotheses)
      if (hypothesis.id == "combined.power") hypothesis.reason = missing(Technique::power);
  }

  // The techniques by what is lost without them, best first; a row each, beside the plan's own order.
  std::vector<Ranked> rank(record::Experiment& record) const {
    std::erase_if(record.rows, [](const record::Row& row) { return lab::find_axis(row, "technique") != nullptr; });
    std::vector<Ranked> ranking;
    for (const auto& [technique, gain] : left_out_)
      ranking.push_back({technique, gain, std::sqrt(gain.speed.value * gain.throughput.value)});
    std::ranges::sort(ranking, std::greater<>(), &Ranked::score);
    int place = 0;
    for (const Ranked& entry : ranking) {
      record::Row row{.axes = {{"technique", name_of(entry.technique)}}};
      row.metrics = {counted("rank", "1", record::Better::lower, ++place),
                     counted("rank_in_the_plan", "1", record::Better::neither, plan_priority(entry.technique)),
                     counted("speed_contribution", "1", record::Better::higher, entry.gain.speed.value),
                     counted("throughput_contribution", "1", record::Better::higher, entry.gain.throughput.value),
                     counted("memory_contribution", "1", record::Better::higher, entry.gain.memory)};
      row.metrics[2].ci95 = entry.gain.speed.interval;
      row.metrics[3].ci95 = entry.gain.throughput.interval;
      record.rows.push_back(std::move(row));
    }
    return ranking;
  }

  // A technique is worth its place if something is surely better with it and nothing surely worse, or if it costs no
  // time and saves memory.
  static bool worth_it(const Gain& gain) {
    using record::Verdict;
    const bool worse = gain.speed_verdict == Verdict::worse || gain.throughput_verdict == Verdict::worse;
    const bool better = gain.speed_verdict == Verdict::better || gain.throughput_verdict == Verdict::better;
    return !worse && (better || gain.memory > 1 + kSmallestSaving);
  }

  std::string label(Technique technique) const {
    return technique == Technique::format && format_ ? fmt::format("the format {0} (`--format {0}`)", *format_)
                                                     : name_of(technique);
  }

  void headline(record::Experiment& record, const std::vector<Ranked>& ranking) const {
    record.outcome = lab::overall(record);
    const Measured* last = rungs_.empty() ? nullptr : &rungs_.back();
    if (last == nullptr) {
      record.measured = "no rung measured";
      record.meaning = "Nothing was added to the baseline, so there is no combination to judge.";
      record.advice = "Run all rungs: `redline experiment combined`.";
      return;
    }
    const Gain& all = last->over_baseline;
    record.measured = fmt::format("{}x speed, {}x tok/s", format_significant(all.speed.value, 2),
                                  format_significant(all.throughput.value, 2));
    std::vector<std::string> keep, drop;
    for (const Ranked& entry : ranking) (worth_it(entry.gain) ? keep : drop).push_back(label(entry.technique));
    record.meaning = fmt::format(
        "Together they serve one request {} times and a queue {} times as fast as the baseline, in {}% of its "
        "memory{}.",
        format_significant(all.speed.value, 2), format_significant(all.throughput.value, 2),
        format_significant(100 / all.memory, 2),
        ranking.empty() ? "" : fmt::format("; {} gave the most", label(ranking.front().technique)));
    if (ranking.empty()) {
      record.advice = "No technique was left out of the whole, so none can be judged: run all rungs.";
      return;
    }
    record.advice = keep.empty() ? "Nothing here earns its place on this machine: stay with the baseline."
                                 : fmt::format("Use {}.", fmt::join(keep, ", "));
    if (!drop.empty()) record.advice += fmt::format(" Not worth it here: {}.", fmt::join(drop, ", "));
  }

  static void charts(record::Experiment& record) {
    const auto bar = [&](const char* title, const char* y) {
      record.charts.push_back({.title = title, .x = "rung", .y = y, .bars = true});
    };
    bar("One request: speed over the baseline", "speed_over_baseline");
    bar("Queue: throughput over the baseline", "throughput_over_baseline");
    bar("Memory", "memory_bytes");
  }

  LadderLoad load_;
  std::array<std::string, kTechniques.size()> missing_;  // why a technique is not measured; empty: it is
  std::optional<quality::Text> text_;                    // of a trained model
  std::optional<std::string> format_;
  std::unique_ptr<RungEngine> baseline_, whole_;
  std::vector<Measured> rungs_;
  std::vector<std::pair<Technique, Gain>> left_out_;
};

}  // namespace

lab::Entry combined() {
  return {.info = combined_info(),
          .make = []() -> std::unique_ptr<lab::Experiment> { return std::make_unique<CombinedExperiment>(); }};
}

}  // namespace rl::experiments
