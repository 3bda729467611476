#include "telemetry/build_info.h"

#include "version.h"

namespace rl::telemetry {

BuildInfo build_info() { return {.version = kVersion, .commit = kCommit, .build = kBuild}; }

}  // namespace rl::telemetry
