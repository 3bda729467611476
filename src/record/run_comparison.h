#pragma once
// What comes out of a comparison of two runs: plain data, made by lab/compare_runs, shown by report/.

#include <optional>
#include <string>
#include <vector>

#include "record/record.h"

namespace rl::record {

// Something in which the runs differ that may explain a difference of their figures.
struct RunDifference {
  std::string name;  // "machine", "model", ...: the word of --allow-differences; or "commit", which never refuses
  std::string baseline, candidate;
  bool refuses = false;  // the runs are unlike, and the user did not allow it
};

struct ComparedMetric {
  std::string experiment, row, metric, unit;
  double baseline = 0, candidate = 0;  // the values
  Comparison result;                   // its ratio > 1: the candidate is better
  double p_value = 1;
  bool sampled = true;  // false: counted, or known by a figure and its interval alone
};

struct RunComparison {
  std::string baseline, candidate;         // ids
  std::vector<RunDifference> differences;  // if any refuses, nothing was compared
  std::vector<std::string> invalid;        // why no verdict may rest on these runs
  std::vector<std::string> undecided;      // rows of which nothing is known, since others used the machine, and why
  std::vector<std::string> skipped;        // what one of them lacks
  // How far the machine's own rates moved between the runs, as a ratio: the largest of the anchors'. Every interval of
  // a sampled metric is wider by it. Nothing: not both runs measured an anchor, and those intervals have no bounds.
  std::optional<double> drift;
  std::vector<ComparedMetric> anchors;  // rates of the machine, not of the program: not judged
  std::vector<ComparedMetric> metrics;
  double smallest_effect = 0.05;
  double error = 0.05;  // chance of any false better or worse among all metrics
};

// As the exit status says: 0 fine, 1 worse, 2 inconclusive, 3 invalid.
enum class Judgement { fine, worse, inconclusive, invalid };
// invalid: the runs are unlike or invalid, or nothing could be compared. worse: any metric is. inconclusive: any row is
// undecided, or any metric is and its interval reaches to where it would be worse by more than the smallest effect.
Judgement judgement_of(const RunComparison& comparison);
const char* name_of(Judgement judgement);

std::string to_json(const RunComparison& comparison);

}  // namespace rl::record
