#pragma once
// `redline run` and `redline experiment NAME`: experiments, their record, the report.

#include <cstdio>
#include <functional>
#include <optional>
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
  lab::AxisOverrides axes;           // --axis values: of each chosen experiment that has the axis
  bool list = false, dry_run = false;
  std::string runs_folder = "runs";
  std::string out;  // folder of this run; empty: runs_folder/<id>
  std::uint64_t seed = 1;
  std::optional<double> max_kld, max_ppl_loss,
      max_foreign_load;               // those of lab::Limits; not given: its own, or the resumed run's
  bool seed_given = false;            // on the command line; a resumed run keeps its own otherwise
  std::optional<std::string> resume;  // go on with this run ("": the newest) instead of a new one
  std::string save_baseline;          // a name for this run, to compare later ones with
  std::string baseline;               // compare with this run at the end; the exit status is the comparison's
  bool json = false;                  // the record on standard output instead of the report
  bool color = false;
  int width = 80;       // of the report on a terminal
  std::string command;  // as typed, for the record
};

// The command as typed, quoted for a shell.
std::string command_text(int argc, const char* const* argv);

// Reads "--seq 128..4096 --batch 1,4", what the command line has beyond the flags, into overrides of axes. Errors:
// usage.
Result<lab::AxisOverrides> read_axes(const std::vector<std::string>& words);

// Errors: usage (an unknown experiment or axis), those of finding the model, io. What an experiment could not do is
// part of the record, not an error; an invalid record makes the program exit with kExitInvalid. What was appended to
// the store before the process was killed is there for --resume, which measures none of it again; it refuses
// (invalid_input, rule "run.resume") where commit, machine, model, seed or settings differ.
// If the device is lost, that is said on standard error, the experiment it was lost in is failed, those after it are
// skipped, the report is written, and the exit status is that of ErrorKind::device. `open` opens the device.
Result<int> cmd_run(const RunOptions& options, std::FILE* out,
                    const std::function<Result<OpenBackend>(const DeviceOptions&)>& open = open_backend);

}  // namespace rl::app
