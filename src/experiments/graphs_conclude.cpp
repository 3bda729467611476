#include <cmath>

#include "experiments/graphs.h"
#include "lab/conclude.h"

namespace rl::experiments {
namespace {

using lab::Estimate;

constexpr std::int64_t kSmallBatch = 8;

// A comparison of valid rows, with what they are of.
struct Compared {
  std::string variant, load;
  double batch = 0, parameters = 0;
  Estimate ratio;  // of the times, launched / candidate
};

const record::Row* row_of(const record::Experiment& record, const std::string& label) {
  for (const record::Row& row : record.rows)
    if (row.validity.valid && lab::Point(row.axes).label() == "variant " + label) return &row;
  return nullptr;
}

std::vector<Compared> compared_rows(const record::Experiment& record) {
  std::vector<Compared> all;
  for (const record::Comparison& comparison : record.comparisons) {
    const record::Row* const row = row_of(record, comparison.candidate);
    if (row == nullptr || row_of(record, comparison.baseline) == nullptr) continue;
    const auto batch = lab::number_of(*row, "batch");
    const double parameters = lab::value_of(*row, "parameters");
    if (!batch || !std::isfinite(parameters)) continue;
    all.push_back({.variant = lab::axis_of(*row, "variant"),
                   .load = lab::axis_of(*row, "load"),
                   .batch = static_cast<double>(*batch),
                   .parameters = parameters,
                   .ratio = {comparison.ratio, comparison.ci95}});
  }
  return all;
}

// The share of the launched steps' time that the candidate saves.
Estimate saved(const Estimate& ratio) {
  return {1 - 1 / ratio.value, {1 - 1 / ratio.interval.low, 1 - 1 / ratio.interval.high}};
}
// The candidate's time over the launched steps'.
Estimate inverse(const Estimate& ratio) { return {1 / ratio.value, {1 / ratio.interval.high, 1 / ratio.interval.low}}; }

// The smallest model's share over the largest's.
std::optional<Estimate> relative(const std::map<double, Estimate>& by_size) {
  if (by_size.size() < 2) return std::nullopt;
  const Estimate &small = by_size.begin()->second, &large = by_size.rbegin()->second;
  if (large.interval.low <= 0) return std::nullopt;
  return Estimate{small.value / large.value,
                  {small.interval.low / large.interval.high, small.interval.high / large.interval.low}};
}

std::string percent(double share) { return format_significant(100 * share, 2) + "%"; }

}  // namespace

void conclude_graphs(record::Experiment& record) {
  std::vector<Estimate> small, plain, in_step, padded, anew;
  std::map<double, Estimate> alone;  // by parameters
  for (const Compared& row : compared_rows(record)) {
    if (row.load == "lengths" && row.variant == kPadded) padded.push_back(row.ratio);
    if (row.load == "lengths" && row.variant == kAnew) anew.push_back(row.ratio);
    if (row.load != "decode") continue;
    if (row.variant == kCaptured && row.batch == 1) alone[row.parameters] = saved(row.ratio);
    if (row.batch > kSmallBatch) continue;
    if (row.variant == kCaptured) small.push_back(row.ratio);
    if (row.variant == kPlain) plain.push_back(row.ratio);
    if (row.variant == kInStep) in_step.push_back(row.ratio);
  }
  std::optional<Estimate> latency, dynamic;
  if (const auto mean = lab::geometric_mean(small)) latency = saved(*mean);
  if (const auto mean = lab::geometric_mean(padded)) dynamic = inverse(*mean);
  lab::conclude_hypothesis(record, kLatency, latency, "no valid point with 1 to 8 sequences");
  lab::conclude_hypothesis(record, kManySmallKernels, relative(alone),
                           alone.size() < 2 ? "a comparison needs models of two sizes"
                                            : "the largest model saves nothing beyond doubt: the ratio has no bound");
  lab::conclude_hypothesis(record, kDynamicShapes, dynamic, "no valid point with prompts of varying length");
  record.outcome = lab::overall(record);
  if (latency) {
    const auto less = [](double share) { return percent(std::abs(share)) + (share < 0 ? " more" : " less"); };
    record.measured = less(latency->value) + " latency";
    record.meaning = fmt::format(
        "Captured decode steps of 1 to 8 sequences take {} time than launched ones (95% interval of what they save {} "
        "to {})",
        less(latency->value), percent(latency->interval.low), percent(latency->interval.high));
    const auto add = [&](const std::vector<Estimate>& ratios, const char* text) {
      if (const auto mean = lab::geometric_mean(ratios))
        record.meaning += fmt::format("; {} {}", less(saved(*mean).value), text);
    };
    add(plain, "with plain edges between their kernels");
    add(in_step, "if the host waits for each step before it queues the next");
    record.meaning += ".";
    if (const auto mean = lab::geometric_mean(anew); mean && dynamic)
      record.meaning += fmt::format(
          " Prompts of varying length take {} of the launched time in padded captured shapes, and {} times it if each "
          "length is captured anew.",
          percent(dynamic->value), format_significant(inverse(*mean).value));
    record.advice = latency->interval.low > 0 ? "Leave captured steps on, which they are by default."
                                              : "Captured steps change nothing beyond doubt here.";
  } else {
    record.measured = "no valid point";
    record.meaning = "Nothing was measured: see the reasons of the rows.";
  }
  record.charts.push_back({.title = "Time of a decode step, one sequence",
                           .x = "shape",
                           .y = "step_time",
                           .series = "variant",
                           .where = {{"load", "decode"}, {"batch", "1"}}});
  record.charts.push_back({.title = "What starting a step costs the host, one sequence",
                           .x = "shape",
                           .y = "host_launch_per_step",
                           .series = "variant",
                           .where = {{"load", "decode"}, {"batch", "1"}}});
}

}  // namespace rl::experiments
