#pragma once
// Ceilings for commands that show a share of them.

#include "base/result.h"
#include "base/units.h"
#include "ops/catalog.h"

namespace rl::app {

// Of the device's memory, by the backend's probe. Takes about half a second. Errors: unsupported.
Result<BytesPerSecond> read_bandwidth(const ops::Backend& backend);

}  // namespace rl::app
