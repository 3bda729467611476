#pragma once
// `redline compare A B`: what changed between two runs.

#include <cstdio>
#include <string>

#include "base/result.h"
#include "lab/compare_runs.h"

namespace rl::app {

struct CompareCommand {
  std::string baseline, candidate;  // see find_run.h
  lab::CompareOptions options;
  std::string runs_folder = "runs";
  std::string format = "terminal";  // terminal, md or json
  bool all = false;                 // also list what is the same
};

// Exit: 0 fine, 1 worse, 2 inconclusive, 3 unlike, invalid or damaged runs. Errors: usage, invalid_input for a run that
// is not there, io.
Result<int> cmd_compare(const CompareCommand& command, std::FILE* out);

}  // namespace rl::app
