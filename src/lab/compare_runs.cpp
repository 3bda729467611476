#include "lab/compare_runs.h"

#include <cmath>
#include <limits>
#include <map>

#include <fmt/format.h>

#include "lab/conclude.h"
#include "lab/disturbance.h"
#include "lab/point.h"
#include "measure/between.h"
#include "measure/measure.h"

namespace rl::lab {
namespace {

using record::Experiment;
using record::Metric;
using record::Row;
using record::Run;

constexpr double kCountedEffect = 0.01;

std::string machine_of(const Run& run) {
  const record::Environment& e = run.environment;
  return fmt::format("{}{}{}, {} cores, {:.1f} GiB, {}", e.gpu, e.gpu.empty() ? "" : ", ", e.cpu, e.cores,
                     static_cast<double>(e.memory_bytes) / (1 << 30), e.isa);
}

std::string model_of(const Run& run) {
  return fmt::format("{} ({})", run.model.name, run.model.fingerprint.substr(0, 12));
}

// Rows by what they are of, in their order; rows of the same axes are told apart by it.
std::vector<std::pair<std::string, const Row*>> labelled(const Experiment& experiment) {
  std::vector<std::pair<std::string, const Row*>> rows;
  std::map<std::string, int> seen;
  for (const Row& row : experiment.rows) {
    const std::string label = Point(row.axes).label();
    const int n = ++seen[label];
    rows.emplace_back(n == 1 ? label : fmt::format("{} ({})", label, n), &row);
  }
  return rows;
}

std::map<std::string, const Row*> rows_of(const Experiment& experiment) {
  const auto rows = labelled(experiment);
  return {rows.begin(), rows.end()};
}

// "3 rows that the other has not, first flash, seq 64"
std::string only_here(const std::string& experiment, const std::map<std::string, const Row*>& a,
                      const std::map<std::string, const Row*>& b) {
  std::string first;
  int count = 0;
  for (const auto& [label, row] : a)
    if (!b.contains(label) && ++count == 1) first = label;
  return count == 0 ? experiment + ": no row that the other has not"
                    : fmt::format("{}: {} rows that the other has not, such as {}", experiment, count, first);
}

std::vector<std::string> axes_of(const std::map<std::string, const Row*>& rows) {
  std::vector<std::string> labels;
  for (const auto& [label, row] : rows) labels.push_back(label);
  return labels;
}

std::map<std::string, const Experiment*> done_of(const Run& run) {
  std::map<std::string, const Experiment*> experiments;
  for (const Experiment& experiment : run.experiments)
    if (experiment.state == record::State::done) experiments[experiment.id] = &experiment;
  return experiments;
}

template <class Map>
std::string missing_from(const Map& a, const Map& b) {
  std::string names;
  for (const auto& [name, ignored] : a)
    if (!b.contains(name)) names += (names.empty() ? "" : "; ") + name;
  return names;
}

bool is_anchor(const Experiment& experiment, const Row& row) {
  return experiment.id == "baseline" && find_axis(row, "probe") != nullptr;
}

// Whether b's samples are a's times a constant, or its inverse over them: the same measurement in other words.
bool derived(const Metric& a, const Metric& b) {
  if (a.samples.size() != b.samples.size() || a.samples.empty()) return false;
  const auto constant = [&](auto combine) {
    const double first = combine(a.samples[0], b.samples[0]);
    for (std::size_t i = 1; i < a.samples.size(); ++i)
      if (!(std::abs(combine(a.samples[i], b.samples[i]) / first - 1) < 1e-9)) return false;
    return true;
  };
  return constant([](double x, double y) { return x * y; }) || constant([](double x, double y) { return y / x; });
}

Metric summarised(const Metric& metric, const Run& run) {
  Metric again = metric;
  if (again.seed == 0) again.seed = run.seed;
  measure::summarise(again);
  return again;
}

class Comparer {
 public:
  Comparer(const Run& a, const Run& b, const CompareOptions& options)
      : a_(a), b_(b), options_(options), done_a_(done_of(a)), done_b_(done_of(b)) {
    result_.baseline = a.id;
    result_.candidate = b.id;
    result_.smallest_effect = options.smallest_effect;
    result_.error = options.error;
  }

  record::RunComparison compare() {
    differences();
    validity(a_);
    validity(b_);
    for (const record::RunDifference& difference : result_.differences)
      if (difference.refuses) return std::move(result_);
    for (const auto& [id, experiment] : done_a_) {
      const auto other = done_b_.find(id);
      if (other == done_b_.end())
        result_.skipped.push_back(id + ": only in the baseline");
      else
        anchors(*experiment, *other->second);
    }
    for (const auto& [id, experiment] : done_b_)
      if (!done_a_.contains(id)) result_.skipped.push_back(id + ": only in the candidate");
    for (const auto& [id, experiment] : done_a_)
      if (const auto other = done_b_.find(id); other != done_b_.end()) metrics(*experiment, *other->second);
    measure::decide(family_, options_.error);
    for (std::size_t i = 0; i < family_.size(); ++i) {
      result_.metrics[i].result = family_[i].comparison;
      result_.metrics[i].p_value = family_[i].p_value;
    }
    return std::move(result_);
  }

 private:
  void differ(const char* name, std::string a, std::string b) {
    if (a == b) return;
    const auto& names = difference_names();
    const auto allowed = [&](const char* word) {
      return std::find(options_.allowed.begin(), options_.allowed.end(), word) != options_.allowed.end();
    };
    const bool unlike = std::find(names.begin(), names.end(), name) != names.end();
    result_.differences.push_back({name, std::move(a), std::move(b), unlike && !allowed(name) && !allowed("all")});
  }

  void differences() {
    const record::Environment &a = a_.environment, &b = b_.environment;
    differ("machine", machine_of(a_), machine_of(b_));
    differ("model", model_of(a_), model_of(b_));
    differ("tokenizer", a_.model.tokenizer_fingerprint.substr(0, 12), b_.model.tokenizer_fingerprint.substr(0, 12));
    differ("precision", fmt::format("{} as {}", a_.model.stored_as, a_.model.computed_as),
           fmt::format("{} as {}", b_.model.stored_as, b_.model.computed_as));
    differ("build", a.build, b.build);
    differ("mode", a_.mode, b_.mode);
    differ("seed", std::to_string(a_.seed), std::to_string(b_.seed));
    const auto or_none = [](std::string text) { return text.empty() ? std::string("nothing more") : text; };
    differ("experiments", or_none(missing_from(done_a_, done_b_)), or_none(missing_from(done_b_, done_a_)));
    std::string axes_a, axes_b, path_a, path_b;
    for (const auto& [id, experiment] : done_a_) {
      const auto other = done_b_.find(id);
      if (other == done_b_.end()) continue;
      const auto rows = rows_of(*experiment), others = rows_of(*other->second);
      if (axes_a.empty() && axes_of(rows) != axes_of(others)) {
        axes_a = only_here(id, rows, others);
        axes_b = only_here(id, others, rows);
      }
      for (const auto& [label, row] : rows) {
        const auto twin = others.find(label);
        if (twin == others.end() || twin->second->path == row->path || !path_a.empty()) continue;
        path_a = fmt::format("{}, {}: {}", id, label, fmt::join(row->path, " "));
        path_b = fmt::format("{}, {}: {}", id, label, fmt::join(twin->second->path, " "));
      }
    }
    differ("axes", axes_a, axes_b);
    differ("commit", a.version + " " + a.commit, b.version + " " + b.commit);
    differ("system", a.os + ", " + a.kernel, b.os + ", " + b.kernel);
    differ("driver", a.driver + " " + a.cuda, b.driver + " " + b.cuda);
    differ("governor", a.governor, b.governor);
    differ("path", path_a, path_b);
  }

  void validity(const Run& run) {
    if (run.finished.empty()) result_.invalid.push_back(run.id + " is not finished");
    if (run.validity.valid) return;
    for (const std::string& reason : run.validity.reasons) result_.invalid.push_back(run.id + ": " + reason);
    if (run.validity.reasons.empty()) result_.invalid.push_back(run.id + " is not valid");
  }

  // f(row's label, row of a, row of b) for the rows that both have, and that are valid in both.
  template <class F>
  void pairs(const Experiment& a, const Experiment& b, F&& f) {
    const auto others = rows_of(b);
    for (const auto& [label, row] : labelled(a))
      if (const auto twin = others.find(label); twin != others.end()) f(label, *row, *twin->second);
  }

  record::ComparedMetric described(const Experiment& experiment, const std::string& row, const Metric& a,
                                   const Metric& b) {
    return {.experiment = experiment.id,
            .row = row,
            .metric = a.name,
            .unit = a.unit,
            .baseline = a.value,
            .candidate = b.value,
            .sampled = !a.samples.empty()};
  }

  void anchors(const Experiment& a, const Experiment& b) {
    pairs(a, b, [&](const std::string& label, const Row& row, const Row& twin) {
      if (!is_anchor(a, row) || !row.validity.valid || !twin.validity.valid) return;
      for (const Metric& metric : row.metrics) {
        const Metric* other = find_metric(twin, metric.name);
        if (other == nullptr || !(metric.value > 0) || !(other->value > 0)) continue;
        record::ComparedMetric compared = described(a, label, metric, *other);
        const measure::Between between =
            measure::compare_between(summarised(metric, a_), summarised(*other, b_), 0, options_.smallest_effect);
        compared.result = between.comparison;
        compared.p_value = between.p_value;
        const double moved = std::exp(std::abs(std::log(compared.result.ratio)));
        result_.drift = std::max(result_.drift.value_or(1), moved);
        result_.anchors.push_back(std::move(compared));
      }
    });
  }

  void metrics(const Experiment& a, const Experiment& b) {
    pairs(a, b, [&](const std::string& label, const Row& row, const Row& twin) {
      if (is_anchor(a, row)) return;
      const std::string place = a.id + (label.empty() ? "" : ", " + label);
      const bool loaded = only_foreign_load(row);
      if (loaded || (row.validity.valid && only_foreign_load(twin))) {
        result_.undecided.push_back(fmt::format("{}: not valid in the {}: {}", place, loaded ? "baseline" : "candidate",
                                                (loaded ? row : twin).validity.reasons[0]));
        return;
      }
      if (!row.validity.valid) {
        result_.skipped.push_back(place + ": not valid in the baseline");
        return;
      }
      if (!twin.validity.valid) {
        result_.invalid.push_back(fmt::format("{}: valid in the baseline, but not in the candidate{}", place,
                                              twin.validity.reasons.empty() ? "" : ": " + twin.validity.reasons[0]));
        return;
      }
      std::vector<const Metric*> judged;
      for (const Metric& metric : row.metrics) {
        const Metric* other = find_metric(twin, metric.name);
        if (metric.better == record::Better::neither) continue;
        if (other == nullptr || other->unit != metric.unit || other->samples.empty() != metric.samples.empty()) {
          result_.skipped.push_back(fmt::format("{}: {} is not the same in both", place, metric.name));
          continue;
        }
        if (std::any_of(judged.begin(), judged.end(), [&](const Metric* known) { return derived(*known, metric); }))
          continue;
        judged.push_back(&metric);
        add(a, label, metric, *other);
      }
    });
    if (axes_of(rows_of(a)) != axes_of(rows_of(b))) return;  // other rows, other memory
    Metric memory{.name = "peak_memory", .unit = "B", .better = record::Better::lower, .statistic = "count"},
        other = memory;
    memory.value = static_cast<double>(a.peak_memory_bytes);
    other.value = static_cast<double>(b.peak_memory_bytes);
    if (memory.value > 0 && other.value > 0) add(a, "", memory, other);
  }

  void add(const Experiment& experiment, const std::string& label, const Metric& a, const Metric& b) {
    const double drift = std::log(result_.drift.value_or(1));
    family_.push_back(
        a.samples.empty()
            ? measure::compare_figures(a, b, std::min(kCountedEffect, options_.smallest_effect))
            : measure::compare_between(summarised(a, a_), summarised(b, b_), drift, options_.smallest_effect));
    if (!a.samples.empty() && !result_.drift) {
      // How far the machine moved is not known, so the difference has no bounds.
      family_.back().comparison.ci95 = {0, std::numeric_limits<double>::infinity()};
      family_.back().p_value = 1;
    }
    result_.metrics.push_back(described(experiment, label, a, b));
  }

  const Run &a_, &b_;
  const CompareOptions& options_;
  const std::map<std::string, const Experiment*> done_a_, done_b_;
  record::RunComparison result_;
  std::vector<measure::Between> family_;  // of result_.metrics, in order
};

}  // namespace

const std::vector<std::string>& difference_names() {
  static const std::vector<std::string> names = {"machine", "model", "tokenizer",   "precision", "build",
                                                 "mode",    "seed",  "experiments", "axes"};
  return names;
}

Result<record::RunComparison> compare_runs(const Run& baseline, const Run& candidate, const CompareOptions& options) {
  const auto& names = difference_names();
  for (const std::string& name : options.allowed)
    if (name != "all" && std::find(names.begin(), names.end(), name) == names.end())
      return Error{.kind = ErrorKind::usage,
                   .what = "no difference of that name refuses a comparison",
                   .rule = "compare.allowed",
                   .expected = fmt::format("{} or all", fmt::join(names, ", ")),
                   .found = name};
  if (!(options.smallest_effect > 0 && options.smallest_effect < 10))
    return Error{.kind = ErrorKind::usage,
                 .what = "the smallest effect is a share: 0.05 for 5%",
                 .rule = "compare.effect",
                 .expected = "above 0 and below 10",
                 .found = fmt::format("{}", options.smallest_effect)};
  return Comparer(baseline, candidate, options).compare();
}

}  // namespace rl::lab
