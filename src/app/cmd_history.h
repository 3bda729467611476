#pragma once
// `redline history`: the runs that were made.

#include <cstdio>
#include <string>

#include "base/result.h"

namespace rl::app {

struct HistoryOptions {
  std::string runs_folder = "runs";
  bool baselines = false;     // list those instead
  std::string drop_baseline;  // forget this name instead
  bool trend = false;         // each experiment's headline over the newest runs instead
};

// One line per run of the store, newest first: id (which ends in the mode), date, model, device, experiments done. At
// most 80 columns. No store is no runs, not an error. Errors: io, unsupported (a newer program's store); invalid_input
// for a baseline to drop that is not there.
Status cmd_history(const HistoryOptions& options, std::FILE* out);

}  // namespace rl::app
