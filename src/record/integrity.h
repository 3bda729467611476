#pragma once
// Whether what was written is what is there.

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"

namespace rl::record {

// Something that is not as it was written.
struct Finding {
  std::string where;  // "report.html", "store, run 20261123-140509-quick"
  std::string what;   // "does not have its digest ..."
};

// The file of a run's folder that has the SHA-256 of each of the others, in the form of sha256sum: `sha256sum -c
// SHA256SUMS` checks a folder without Redline.
inline constexpr const char* kSumsFile = "SHA256SUMS";

// Writes it over those of record.json, report.html, report.md and results.csv that are there. Errors: io.
Status write_sums(const std::filesystem::path& folder);

// The folder against its sums. A folder without the file is a finding: nothing says what was written.
std::vector<Finding> check_sums(const std::filesystem::path& folder);

}  // namespace rl::record
