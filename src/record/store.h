#pragma once
// Where runs are kept: one folder per run with record.json, and one SQLite database that indexes all of them (rollback
// journal, synchronous=FULL: what append() acknowledged survives a crash and a power cut).

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "record/integrity.h"
#include "record/record.h"

namespace rl::record {

class Store {
 public:
  // Opens or creates `folder`/redline.db. Errors: io; unsupported if a newer program wrote it.
  static Result<Store> open(const std::filesystem::path& folder);
  Store(Store&&) noexcept;
  Store& operator=(Store&&) noexcept;
  ~Store();

  // Makes the run known. begin() once; append() after each finished experiment (again: replaces it); finish() at the
  // end. Each is one transaction. append() and finish() also keep what changed in the run's own fields. Errors: io;
  // timeout if another process writes for longer than 10 s; invalid_input for an id that is known (begin) or is not
  // (the others).
  Status begin(const Run& run);
  Status append(const Run& run, const Experiment& experiment);
  Status finish(const Run& run);

  // A run with all its experiments as appended. Errors: invalid_input if there is none of that id, or if a row of it
  // does not have the digest (SHA-256) that was kept with it.
  Result<Run> load(const std::string& id) const;
  struct Entry {
    std::string id, started, mode, model, device;
    int experiments = 0;
    bool finished = false;
  };
  Result<std::vector<Entry>> list() const;  // newest first

  // Every row has a digest of its columns, and a run's digest covers those of its experiments: one changed byte, a lost
  // or a doubled row shows. Of one run, or of the whole file with SQLite's own check. Nothing found: intact.
  Result<std::vector<Finding>> check(const std::string& id) const;
  Result<std::vector<Finding>> check() const;

  // Names for runs to compare with. A name that is taken moves to the new run. Errors: invalid_input if there is no
  // such run.
  struct Baseline {
    std::string name, run, saved;
  };
  Status save_baseline(const std::string& name, const std::string& run, const std::string& saved);
  Result<bool> drop_baseline(const std::string& name);  // false: there was none
  Result<std::vector<Baseline>> baselines() const;      // by name

 private:
  struct Impl;
  explicit Store(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace rl::record
