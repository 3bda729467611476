#include "experiments/combined_conclude.h"

#include <fmt/ranges.h>

#include "lab/conclude.h"

namespace rl::experiments {
namespace {

using lab::Estimate;

constexpr double kSmallestSaving = 0.02;  // of memory, below which nothing was saved

record::Metric counted(std::string name, record::Better better, double value) {
  return {.name = std::move(name), .unit = "1", .better = better, .value = value, .statistic = "count"};
}

// What leaving a technique out, or adding it, changed; ratios above 1 are in its favour.
struct Gain {
  Estimate speed, throughput;
  record::Verdict speed_verdict = record::Verdict::inconclusive, throughput_verdict = record::Verdict::inconclusive;
  double memory = 1;  // without / with
};

class Ladder {
 public:
  explicit Ladder(Absences missing) : missing_(std::move(missing)) {}

  void conclude(record::Experiment& record) {
    read(record);
    conclude_totals(record);
    const std::vector<Ranked> ranking = rank(record);
    headline(record, ranking);
    charts(record);
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
        if (const record::Metric* joules = lab::find_metric(row, "energy_per_token"); joules != nullptr && !left_out)
          (subject ? joules_last_ : joules_baseline_) = joules->value;
        if (subject == Technique::power) {
          const record::Metric* efficiency = lab::find_metric(row, kEfficiencyGain);
          if (efficiency != nullptr && efficiency->ci95)
            efficiency_ = Estimate{efficiency->value, *efficiency->ci95};
          else if (!left_out)
            missing(Technique::power) =
                efficiency != nullptr ? "too few samples for an interval of tokens per joule" : row.note;
          efficiency_measured_ = efficiency_measured_ || efficiency != nullptr;
          continue;
        }
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
    if (efficiency_measured_) {
      lab::conclude_hypothesis(record, "combined.power", efficiency_, reason(Technique::power));
      return;
    }
    for (record::Hypothesis& hypothesis : record.hypotheses)
      if (hypothesis.id == "combined.power") hypothesis.reason = reason(Technique::power);
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
      row.metrics = {counted("rank", record::Better::lower, ++place),
                     counted("rank_in_the_plan", record::Better::neither, plan_priority(entry.technique)),
                     counted("speed_contribution", record::Better::higher, entry.gain.speed.value),
                     counted("throughput_contribution", record::Better::higher, entry.gain.throughput.value),
                     counted("memory_contribution", record::Better::higher, entry.gain.memory)};
      row.metrics[2].ci95 = entry.gain.speed.interval;
      row.metrics[3].ci95 = entry.gain.throughput.interval;
      record.rows.push_back(std::move(row));
    }
    return ranking;
  }

  // A technique is worth its place if something is surely better with it and nothing surely worse, or if it costs no
  // time and saves memory; not if something is surely worse, or surely nothing better.
  enum class Worth { yes, no, undecided };
  static Worth worth_of(const Gain& gain) {
    using record::Verdict;
    const auto any = [&](Verdict verdict) {
      return gain.speed_verdict == verdict || gain.throughput_verdict == verdict;
    };
    if (any(Verdict::worse)) return Worth::no;
    if (any(Verdict::better) || gain.memory > 1 + kSmallestSaving) return Worth::yes;
    return any(Verdict::inconclusive) ? Worth::undecided : Worth::no;
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
    std::vector<std::string> keep, drop, undecided;
    for (const Ranked& entry : ranking) {
      const Worth worth = worth_of(entry.gain);
      (worth == Worth::yes ? keep : worth == Worth::no ? drop : undecided).push_back(label(entry.technique));
    }
    record.meaning = fmt::format(
        "Together they serve one request {} times and a queue {} times as fast as the baseline, in {}% of its "
        "memory{}.",
        format_significant(all.speed.value, 2), format_significant(all.throughput.value, 2),
        format_significant(100 / all.memory, 2),
        ranking.empty() ? "" : fmt::format("; {} gave the most", label(ranking.front().technique)));
    if (joules_baseline_ && joules_last_)
      record.meaning += fmt::format(" A token of the queue takes {} J in the last rung, {} J in the baseline.",
                                    format_significant(*joules_last_), format_significant(*joules_baseline_));
    if (ranking.empty()) {
      record.advice = "No technique was left out of the whole, so none can be judged: run all rungs.";
      return;
    }
    record.advice = !keep.empty()        ? fmt::format("Use {}.", fmt::join(keep, ", "))
                    : !undecided.empty() ? "Nothing here surely earns its place on this machine."
                                         : "Nothing here earns its place on this machine: stay with the baseline.";
    if (!undecided.empty())
      record.advice += fmt::format(" Too little was measured to judge {}.", fmt::join(undecided, ", "));
    if (!drop.empty()) record.advice += fmt::format(" Not worth it here: {}.", fmt::join(drop, ", "));
  }

  void charts(record::Experiment& record) const {
    const auto bar = [&](const char* title, const char* y, double base = 0) {
      record.charts.push_back({.title = title, .x = "rung", .y = y, .bars = true, .bar_base = base});
    };
    bar("One request: speed over the baseline", "speed_over_baseline", 1);
    bar("Queue: throughput over the baseline", "throughput_over_baseline", 1);
    bar("One request: speed given up without the technique", "speed_given_up", 1);
    bar("Queue: throughput given up without the technique", "throughput_given_up", 1);
    bar("Memory", "memory_bytes");
    if (joules_baseline_ || joules_last_) bar("Energy per token of the queue", "energy_per_token");
  }

  Absences missing_;
  std::optional<std::string> format_;
  std::optional<Estimate> efficiency_;                   // of the power limit
  bool efficiency_measured_ = false;                     // the rung ran, be its interval known or not
  std::optional<double> joules_baseline_, joules_last_;  // per token
  std::vector<Measured> rungs_;
  std::vector<std::pair<Technique, Gain>> left_out_;
};

}  // namespace

void conclude_ladder(record::Experiment& record, Absences missing) { Ladder(std::move(missing)).conclude(record); }

}  // namespace rl::experiments
