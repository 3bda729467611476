#pragma once
// What every user sees of a run: text for a terminal, Markdown, one HTML page that opens without network, and a tidy
// CSV. All of it comes from the record alone; nothing is measured, computed anew or judged here.

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "record/record.h"
#include "record/run_comparison.h"
#include "record/store.h"

namespace rl::report {

struct TerminalOptions {
  int width = 80;      // columns; no line is wider. At least 40
  bool color = false;  // ANSI colours
  std::string folder;  // where the files are; "" leaves that line out
};

// Header, one line per experiment (experiment | expected | measured | verdict), then what each means and what to do.
std::string terminal(const record::Run& run, const TerminalOptions& options);

// A table of runs, one line each of at most 80 columns.
std::string history(const std::vector<record::Store::Entry>& runs);
// Names of runs, one line each.
std::string baselines(const std::vector<record::Store::Baseline>& baselines);
// Each experiment's headline (date, commit, measured, verdict) over these runs, in their order.
std::string trend(const std::vector<record::Run>& runs);

struct ComparisonOptions {
  int width = 80;    // columns; at least 60
  bool all = false;  // also what is the same, and every inconclusive one
};
// Differences of the runs, a count by experiment, the metrics that are worse, better or inconclusive, and what the
// verdicts rest on.
std::string comparison_terminal(const record::RunComparison& comparison, const ComparisonOptions& options);
std::string comparison_markdown(const record::RunComparison& comparison);

std::string markdown(const record::Run& run);

// One self-contained page: styles, Chart.js and data are inside it; it asks the network for nothing (and its content
// security policy forbids it). Every chart is there twice: as a static SVG, which stands without JavaScript and on
// paper, and as data that Chart.js draws from.
std::string html(const record::Run& run);

// Long format, one line per metric of a row: experiment, the axes of all experiments, metric, unit, statistic, value,
// low, high, n, timing, valid, reasons. Values are in the metric's base unit, in the shortest form that keeps every
// bit; what is absent is an empty field.
std::string csv(const record::Run& run);

// Writes report.html, report.md and results.csv, each atomically. Errors: io.
Status write_views(const record::Run& run, const std::filesystem::path& folder);
// The same, record.json and the sums of all (record/integrity.h). Errors: io.
Status write_all(const record::Run& run, const std::filesystem::path& folder);

}  // namespace rl::report
