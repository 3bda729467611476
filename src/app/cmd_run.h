#pragma once
// `redline run` and `redline experiment NAME`: experiments, their record, the report.

#include <cstdio>
#include <string>
#include <vector>

#include "app/wiring.h"
#include "base/result.h"
#include "lab/experiment.h"

namespace rl::app {

struct RunOptions {
  std::string model;
  DeviceOptions device;
  bool quick = false, full = false;  // neither: quick on a CPU
  std::vector<std::string> only;     // experiments; empty: all
  lab::AxisOverrides axes;           // of `redline experiment NAME --axis values`
  bool list = false, dry_run = false;
  std::string runs_folder = "runs";
  std::string out;  // folder of this run; empty: runs_folder/<id>
  std::uint64_t seed = 1;
  lab::Limits limits;
  bool json = false;  // the record on standard output instead of the report
  bool color = false;
  std::string command;  // as typed, for the record
};

// Errors: usage (an unknown experiment or axis), those of finding the model, io. What an experiment could not do is
// part of the record, not an error; an invalid record makes the program exit with kExitInvalid.
Result<int> cmd_run(const RunOptions& options, std::FILE* out);

}  // namespace rl::app
