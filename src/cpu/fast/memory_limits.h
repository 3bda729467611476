#pragma once
// How much memory this program may use: the machine's, within the limits of its control groups (containers, services).

#include <filesystem>

#include "base/units.h"

namespace rl::cpu {

struct MemoryLimits {
  Bytes total;      // the machine's, or a control group's limit if that is less
  Bytes available;  // of it now: free, or held by caches of files that give way
};

// From the files of the system whose root folder is `root`: /proc/meminfo, and of each control group this process is in
// (version 2, or 1) limit, use, and what of the use is file cache not read lately. What the system does not say limits
// nothing.
MemoryLimits memory_limits(const std::filesystem::path& root = "/");

}  // namespace rl::cpu
