#pragma once
// The program's one monotonic clock. Measurements go through measure/; the engine stamps requests with it.

#include "base/units.h"

namespace rl {

// Seconds since an arbitrary fixed point; never goes back. Resolution: nanoseconds.
Seconds monotonic_now();

// Processor time that all threads of this process have used since it began.
Seconds process_cpu_time();

// Date and time in UTC, ISO 8601: "2026-11-23T14:05:09Z".
std::string utc_timestamp();

void sleep_for(Seconds duration);

}  // namespace rl
