#pragma once
// A run's folder.

#include <filesystem>

#include "base/result.h"
#include "record/record.h"

namespace rl::record {

// Creates `folder` if need be and writes `folder`/record.json; readers and a crash see the old file or the new, never a
// part. Errors: io.
Status write_run_folder(const Run& run, const std::filesystem::path& folder);

}  // namespace rl::record
