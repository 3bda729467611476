#pragma once
// Pieces of the HTML page.

#include <string>
#include <string_view>
#include <vector>

#include "record/record.h"
#include "report/markup.h"
#include "report/view.h"

namespace rl::report {

void badge(Markup& out, const Badge& badge);
// A table that scrolls by itself where it is wider than the screen.
void open_table(Markup& out, std::string_view label, std::string_view css = "");
void close_table(Markup& out);
void head_row(Markup& out, const std::vector<std::string>& cells);

std::string title_of(const record::Experiment& experiment);
std::string plan_text(const record::Experiment& experiment);  // "plan 1.1"; a name stays as it is
std::string anchor_of(const record::Experiment& experiment);
bool has_chart(const record::Experiment& experiment);

// The rows of an experiment as a table; nothing if there are none.
void results_table(Markup& out, const record::Experiment& experiment);

// Everything about one experiment that ran, or says why it did not.
void experiment_section(Markup& out, const record::Experiment& experiment);

}  // namespace rl::report
