#include "lab/recompute.h"

#include <bit>
#include <cmath>

#include "lab/conclude.h"
#include "lab/hypothesis.h"

namespace rl::lab {
namespace {

// As the record can keep them: it has one form for all numbers that are not finite.
bool same(double a, double b) {
  if (!std::isfinite(a) || !std::isfinite(b)) return std::isfinite(a) == std::isfinite(b);
  return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
}
bool same(const record::Interval& a, const record::Interval& b) { return same(a.low, b.low) && same(a.high, b.high); }
bool same(const std::string& a, const std::string& b) { return a == b; }
bool same(int a, int b) { return a == b; }
template <class T>
bool same(const std::optional<T>& a, const std::optional<T>& b) {
  return a.has_value() == b.has_value() && (!a || same(*a, *b));
}
template <class T>
requires std::is_enum_v<T>
bool same(T a, T b) { return a == b; }

std::string text(double value) { return fmt::format("{}", value); }
std::string text(int value) { return fmt::format("{}", value); }
std::string text(const std::string& value) { return "'" + value + "'"; }
std::string text(const record::Interval& value) { return fmt::format("[{}, {}]", value.low, value.high); }
template <class T>
std::string text(const std::optional<T>& value) {
  return value ? text(*value) : "nothing";
}
template <class T>
requires std::is_enum_v<T> std::string text(T value) { return record::name_of(value); }

class Checker {
 public:
  Checker(const record::Run& run, const record::Experiment& experiment) : run_(run), experiment_(experiment) {}

  void metrics() {
    for (std::size_t r = 0; r < experiment_.rows.size(); ++r)
      for (const record::Metric& metric : experiment_.rows[r].metrics) {
        if (metric.samples.empty()) continue;
        const std::string place = fmt::format("{}, row {}, {}", experiment_.id, r + 1, metric.name);
        record::Metric again = metric;
        if (again.seed == 0) again.seed = run_.seed;
        ++result.metrics;
        if (!measure::summarise(again)) {
          result.findings.push_back(
              {place, fmt::format("has samples, but no formula gives a '{}' of samples", metric.statistic)});
          continue;
        }
        expect(place + ": value", metric.value, again.value);
        expect(place + ": interval", metric.ci95, again.ci95);
        expect(place + ": noise", metric.noise, again.noise);
        expect(place + ": outliers", metric.outliers, again.outliers);
      }
  }

  // A comparison names what it compared in words; the two series are those that give exactly what it says.
  void comparisons() {
    std::vector<const record::Metric*> series;
    for (const record::Row& row : experiment_.rows)
      for (const record::Metric& metric : row.metrics)
        if (!metric.samples.empty()) series.push_back(&metric);
    for (const record::Comparison& comparison : experiment_.comparisons) {
      ++result.comparisons;
      // Compared series stand near each other: the near ones are tried first.
      bool found = false;
      for (std::size_t apart = 1; apart < series.size() && !found; ++apart)
        for (std::size_t i = 0; i + apart < series.size() && !found; ++i)
          found =
              gives(comparison, *series[i], *series[i + apart]) || gives(comparison, *series[i + apart], *series[i]);
      if (!found)
        result.findings.push_back(
            {fmt::format("{}, {} against {}", experiment_.id, comparison.candidate, comparison.baseline),
             fmt::format("no two series of samples give the ratio {}, interval {}, {}", text(comparison.ratio),
                         text(comparison.ci95), text(comparison.verdict))});
    }
  }

  void hypotheses() {
    for (const record::Hypothesis& hypothesis : experiment_.hypotheses) {
      ++result.outcomes;
      // Invalid for the reasons that it gives: what was measured does not count.
      if (hypothesis.outcome == record::Outcome::invalid && !hypothesis.reason.empty()) continue;
      record::Hypothesis again = hypothesis;
      if (hypothesis.measured || hypothesis.reason.empty()) judge(again);
      expect(hypothesis.id + ": outcome", hypothesis.outcome, again.outcome);
      expect(hypothesis.id + ": reason", hypothesis.reason, again.reason);
    }
  }

  void headline() {
    if (experiment_.state != record::State::done || experiment_.hypotheses.empty()) return;
    ++result.outcomes;
    expect(experiment_.id + ": outcome", experiment_.outcome, overall(experiment_));
  }

  void conclusion(const Entry* entry, Context& context) {
    if (entry == nullptr || entry->make == nullptr || experiment_.state != record::State::done) return;
    const std::unique_ptr<Experiment> made = entry->make();
    if (!made->concludes_from_record()) return;
    record::Experiment again = experiment_;
    again.hypotheses = entry->info.hypotheses;
    again.outcome = record::Outcome::skipped;
    again.measured = again.meaning = again.advice = "";
    again.charts.clear();
    ++result.concluded;
    if (const Status status = made->conclude(context, again); !status) {
      result.findings.push_back({experiment_.id, "cannot be concluded again: " + status.error().what});
      return;
    }
    expect(experiment_.id + ": state", experiment_.state, again.state);
    expect(experiment_.id + ": outcome", experiment_.outcome, again.outcome);
    expect(experiment_.id + ": measured", experiment_.measured, again.measured);
    expect(experiment_.id + ": meaning", experiment_.meaning, again.meaning);
    expect(experiment_.id + ": advice", experiment_.advice, again.advice);
    expect(experiment_.id + ": hypotheses", static_cast<int>(experiment_.hypotheses.size()),
           static_cast<int>(again.hypotheses.size()));
    for (std::size_t i = 0; i < std::min(again.hypotheses.size(), experiment_.hypotheses.size()); ++i) {
      const record::Hypothesis &recorded = experiment_.hypotheses[i], &now = again.hypotheses[i];
      expect(recorded.id + ": estimate", recorded.measured_value, now.measured_value);
      expect(recorded.id + ": measured", recorded.measured, now.measured);
      expect(recorded.id + ": expected", recorded.expected, now.expected);
      expect(recorded.id + ": claim", recorded.claim, now.claim);
      expect(recorded.id + ": outcome", recorded.outcome, now.outcome);
    }
  }

  Recomputation result;

 private:
  template <class T>
  void expect(const std::string& place, const T& recorded, const T& computed) {
    if (!same(recorded, computed))
      result.findings.push_back(
          {place, fmt::format("is {} in the record, but {} by computation", text(recorded), text(computed))});
  }

  bool gives(const record::Comparison& comparison, const record::Metric& a, const record::Metric& b) const {
    if (a.name != b.name || a.samples.size() != b.samples.size()) return false;
    const auto by = [&](const auto& compare) {
      const record::Comparison again = compare(a.samples, b.samples, a.better, comparison.smallest_effect);
      return same(again.ratio, comparison.ratio) && same(again.ci95, comparison.ci95) &&
             again.verdict == comparison.verdict;
    };
    return by(measure::compare_pairs) || (run_.started < kBoundedSince && by(measure::compare_pairs_unbounded));
  }

  static constexpr std::string_view kBoundedSince = "2026-11-30";  // intervals of ratios; before it either may be there

  const record::Run& run_;
  const record::Experiment& experiment_;
};

}  // namespace

Recomputation recompute(const record::Run& run, const record::Experiment& experiment, const Entry* entry,
                        Context& context) {
  Checker checker(run, experiment);
  checker.metrics();
  checker.comparisons();
  checker.hypotheses();
  checker.headline();
  checker.conclusion(entry, context);
  return std::move(checker.result);
}

}  // namespace rl::lab
