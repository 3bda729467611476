#pragma once
// `redline verify RUN...`: whether records are what was written, and whether their summaries follow from their samples.

#include <cstdio>
#include <string>
#include <vector>

#include "base/result.h"

namespace rl::app {

struct VerifyOptions {
  std::vector<std::string> runs;     // see find_run.h; empty: the whole store
  std::string runs_folder = "runs";  // where the store is
  bool json = false;
};

// Says for each run what was checked and everything that differs. Exit: 0 all is as written, 3 something differs.
// Errors: invalid_input for a run that is not there; io.
Result<int> cmd_verify(const VerifyOptions& options, std::FILE* out);

}  // namespace rl::app
