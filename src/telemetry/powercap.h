#pragma once
// The files of Linux' powercap folder, for this room.

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"

namespace rl::telemetry {

// The folders of the processor packages, in order: intel-rapl:<n> whose name is package-<m>. Empty if there are none.
std::vector<std::filesystem::path> package_zones(const std::filesystem::path& powercap);

std::string read_line(const std::filesystem::path& file);  // "" if it cannot be read
// A file that holds one whole number. Errors: unsupported (missing, no permission; errno in native_code), io (other
// content).
Result<std::int64_t> read_number(const std::filesystem::path& file);

}  // namespace rl::telemetry
