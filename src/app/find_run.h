#pragma once
// Runs by the names that users give them.

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "record/record.h"

namespace rl::app {

// Where a run is: a record.json, or a row of the store, or both.
struct RunPlace {
  std::filesystem::path file;  // its record.json; empty if only the store knows it
  std::string id;              // in the store; empty if it was named by a path
  std::filesystem::path folder() const { return file.parent_path(); }
};

// `name`: a run's folder or record.json, an id, a baseline's name, "last" (also "latest" or nothing: the newest of the
// store) or "last~N" (the N-th before it). What is a path goes first. Errors: invalid_input with what there is.
Result<RunPlace> locate_run(const std::string& name, const std::string& runs_folder);

// Its record, from the file if there is one. Errors: invalid_input, io, unsupported.
Result<record::Run> read_run(const RunPlace& place, const std::string& runs_folder);

// The same by name, and in `damage` why its record.json is not what was written; the store checks its rows itself.
Result<record::Run> read_checked_run(const std::string& name, const std::string& runs_folder,
                                     std::vector<std::string>& damage);

// Whether a store is there: opening one creates it, and looking must not.
bool has_store(const std::filesystem::path& runs_folder);

}  // namespace rl::app
