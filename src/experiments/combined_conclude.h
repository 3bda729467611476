#pragma once
// What the rows and comparisons of the experiment `combined` say: the plan's four totals, the techniques by what is
// lost without them, the headline.

#include <array>
#include <string>

#include "experiments/ladder.h"
#include "record/record.h"

namespace rl::experiments {

// Names in the record that the measuring and the concluding side share.
inline constexpr const char *kOneRequest = "time of one request", *kQueue = "time of the queue";
inline constexpr const char* kEfficiencyGain = "efficiency_over_present_limit";

// Why a technique is not measured, by Technique; empty: it is.
using Absences = std::array<std::string, kTechniques.size()>;

// Sets hypotheses, outcome, headline and charts, and adds the ranking's rows. Rows that were not measured say why in
// their notes, which replace `missing`.
void conclude_ladder(record::Experiment& record, Absences missing);

}  // namespace rl::experiments
