#pragma once
// Sentences and name-value pairs that the Markdown and the HTML report share.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "record/record.h"
#include "report/view.h"

namespace rl::report {

using Facts = std::vector<std::pair<std::string, std::string>>;

// Only facts that were recorded: what is empty in the record is left out.
Facts machine_facts(const record::Run& run);
Facts model_facts(const record::Run& run);
Facts run_facts(const record::Run& run);

std::string measured_of(const record::Hypothesis& hypothesis);  // "2.31 [2.25, 2.38]", "not measured"
std::string constant_text(const Axes& axes);                    // "batch 1, heads 32"
std::string validity_text(const record::Row& row);              // "yes", "INVALID: reason", "yes; warning: ..."
std::string cost_text(const record::Experiment& experiment);    // time and memory it took; "" if neither is known
std::string reproduce_text(const record::Run& run);

// The rule behind each verdict of a hypothesis (record.h) and of a comparison.
std::vector<std::pair<Badge, std::string>> verdict_rules();
std::vector<std::string> method_notes();

}  // namespace rl::report
