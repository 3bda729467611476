#pragma once
// A record's summaries computed again from its samples, by the very functions that made them, and compared to the bit.

#include <vector>

#include "lab/experiment.h"
#include "record/integrity.h"
#include "record/record.h"

namespace rl::lab {

struct Recomputation {
  int metrics = 0;      // value, interval, noise and outliers from the samples
  int comparisons = 0;  // ratio, interval and verdict from two series of samples
  int outcomes = 0;     // of hypotheses and headlines, by the algebra of verdicts
  // Experiments whose conclude() ran again: estimates, headline, meaning and advice from rows and comparisons. Of the
  // others these texts are only known to be what was written (record/integrity.h).
  int concluded = 0;
  std::vector<record::Finding> findings;
};

// `entry`: this program's experiment of that id; null if it has none. The context is for conclude().
Recomputation recompute(const record::Run& run, const record::Experiment& experiment, const Entry* entry,
                        Context& context);

}  // namespace rl::lab
