#pragma once
// Two runs side by side: are they alike, and which figures differ beyond doubt.

#include <string>
#include <vector>

#include "base/result.h"
#include "record/record.h"
#include "record/run_comparison.h"

namespace rl::lab {

struct CompareOptions {
  std::vector<std::string> allowed;  // names of differences to compare across; "all"
  double smallest_effect = 0.05;     // of sampled metrics; counted ones have 1%
  double error = 0.05;               // of all verdicts together
};

// Names that `allowed` may have: "machine", "model", "tokenizer", "precision", "build", "mode", "seed", "experiments",
// "axes". Others are only named: commit, system, driver, governor, path.
const std::vector<std::string>& difference_names();

// Compares every metric that both runs have, by experiment, axes and name. Summaries are computed from the samples.
// Errors: usage for an unknown name in `allowed` or an effect that is not positive.
Result<record::RunComparison> compare_runs(const record::Run& baseline, const record::Run& candidate,
                                           const CompareOptions& options);

}  // namespace rl::lab
