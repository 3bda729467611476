#pragma once
// A run's place on the disk while it goes on: its folder, its rows in the store, and the lock that says it goes on.

#include <filesystem>
#include <optional>
#include <string>

#include "app/cmd_run.h"
#include "base/file_lock.h"
#include "base/result.h"
#include "record/record.h"
#include "record/store.h"

namespace rl::app {

// What was asked for and changes what is measured: "experiments", "mode", "device", "threads", "isa", the limits as
// "max-kld", "max-ppl-loss" and "max-foreign-load", and each axis as "--seq". Names and values as they stand in
// record::Run::settings.
std::vector<std::pair<std::string, std::string>> settings_of(const RunOptions& options,
                                                             const std::vector<std::string>& experiments, bool full);

// The run that `--resume` names ("" or "last": the newest), as the store has it. Errors: invalid_input if there is none
// or a row of it is damaged.
Result<record::Run> interrupted_run(const RunOptions& options);

// The limits that were given, the others as lab::Limits has them.
lab::Limits limits_of(const RunOptions& options);

// Takes over what the user did not say anew: experiments, mode, seed, axes, device, limits. Errors: those of
// parse_values.
Status adopt(const record::Run& interrupted, RunOptions& options);

// Whether `now`, a run with the same settings that would begin here, can go on with `before`. Errors: invalid_input,
// rule "run.resume", with every difference: commit, build, machine, model, tokenizer, precision, seed, settings.
Status can_resume(const record::Run& before, const record::Run& now);

class RunSession {
 public:
  // A new run: gives it an id and a folder that no other has, and makes it known to the store. Errors: io.
  static Result<RunSession> begin(const RunOptions& options, record::Run& run);
  // The folder and the store of a run that the store knows. Errors: cancelled ("run.locked") while another process
  // works on it; io.
  static Result<RunSession> resume(const RunOptions& options, const record::Run& run);

  const std::filesystem::path& folder() const { return folder_; }
  record::Store& store() { return *store_; }

 private:
  RunSession() = default;
  Status open(const RunOptions& options);
  Status lock();
  std::filesystem::path folder_;
  std::optional<FileLock> lock_;  // outlives the store: given back when nothing is written any more
  std::optional<record::Store> store_;
};

}  // namespace rl::app
