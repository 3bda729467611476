#include "record/run_comparison.h"

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

namespace rl::record {
namespace {

using Json = nlohmann::ordered_json;

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json json_of(const ComparedMetric& metric) {
  return {{"experiment", metric.experiment},
          {"row", metric.row},
          {"metric", metric.metric},
          {"unit", metric.unit},
          {"baseline", number(metric.baseline)},
          {"candidate", number(metric.candidate)},
          {"ratio", number(metric.result.ratio)},
          {"ci95", {{"low", number(metric.result.ci95.low)}, {"high", number(metric.result.ci95.high)}}},
          {"smallest_effect", metric.result.smallest_effect},
          {"p_value", number(metric.p_value)},
          {"sampled", metric.sampled},
          {"verdict", name_of(metric.result.verdict)}};
}

Json json_of(const RunDifference& difference) {
  return {{"name", difference.name},
          {"baseline", difference.baseline},
          {"candidate", difference.candidate},
          {"refuses", difference.refuses}};
}

template <class T>
Json list_of(const std::vector<T>& values) {
  Json list = Json::array();
  for (const T& value : values) list.push_back(json_of(value));
  return list;
}

}  // namespace

Judgement judgement_of(const RunComparison& comparison) {
  const auto refuses = [](const RunDifference& difference) { return difference.refuses; };
  if (!comparison.invalid.empty() || (comparison.metrics.empty() && comparison.undecided.empty()) ||
      std::any_of(comparison.differences.begin(), comparison.differences.end(), refuses))
    return Judgement::invalid;
  Judgement judgement = comparison.undecided.empty() ? Judgement::fine : Judgement::inconclusive;
  for (const ComparedMetric& metric : comparison.metrics) {
    const Comparison& result = metric.result;
    if (result.verdict == Verdict::worse) return Judgement::worse;
    // NaN: unknown, and so perhaps worse.
    if (result.verdict == Verdict::inconclusive && !(result.ci95.low >= 1 / (1 + result.smallest_effect)))
      judgement = Judgement::inconclusive;
  }
  return judgement;
}

const char* name_of(Judgement judgement) {
  switch (judgement) {
    case Judgement::fine:
      return "fine";
    case Judgement::worse:
      return "worse";
    case Judgement::inconclusive:
      return "inconclusive";
    case Judgement::invalid:
      return "invalid";
  }
  return "";
}

std::string to_json(const RunComparison& comparison) {
  const Json json = {{"baseline", comparison.baseline},
                     {"candidate", comparison.candidate},
                     {"judgement", name_of(judgement_of(comparison))},
                     {"smallest_effect", comparison.smallest_effect},
                     {"family_error", comparison.error},
                     {"drift", comparison.drift ? Json(*comparison.drift) : Json(nullptr)},
                     {"differences", list_of(comparison.differences)},
                     {"invalid", comparison.invalid},
                     {"undecided", comparison.undecided},
                     {"skipped", comparison.skipped},
                     {"anchors", list_of(comparison.anchors)},
                     {"metrics", list_of(comparison.metrics)}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace rl::record
