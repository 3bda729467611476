#pragma once
// Processor time: what this process used of it, and what others did.

#include <filesystem>
#include <optional>
#include <vector>

#include "base/units.h"

namespace rl::telemetry {

// At one moment; differences of two are what counts.
struct CpuTime {
  Seconds wall;  // of the monotonic clock
  Seconds busy;  // of all processors together since the machine started: user, system, interrupts, stolen by the host
  Seconds own;   // of this process, all threads
  int cpus = 0;  // processors that `busy` is of
};

// Of the processors this process may run on. Linux's /proc/stat counts in ticks of mostly 10 ms, so that differences
// over less than half a second say little. Nothing where the system does not say.
std::optional<CpuTime> read_cpu_time();

// The busy time alone, from the files of a system whose root folder is `root`, with so many ticks a second.
std::optional<Seconds> busy_time(const std::filesystem::path& root, const std::vector<int>& cpus,
                                 double ticks_per_second);

// Processor time of others between the two, as a share of all that the processors had: 0 to 1.
double foreign_share(const CpuTime& begin, const CpuTime& end);

}  // namespace rl::telemetry
