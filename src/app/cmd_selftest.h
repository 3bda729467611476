#pragma once
// `redline selftest`: every kernel of this machine's backend against the oracle, with a result that can be shared.

#include <cstdio>
#include <string>

#include "app/wiring.h"
#include "base/result.h"

namespace rl::app {

struct SelftestOptions {
  DeviceOptions device;
  bool small = false;  // the cases that are small enough for a sanitizer
  bool full = false;   // large shapes of real models as well
  std::string only;    // what the names of the variants begin with; empty: all
  std::string output;  // file of the result as JSON; empty: none
};

// The exit status: kExitInvalid if anything is wrong.
Result<int> cmd_selftest(const SelftestOptions& options, std::FILE* out);

}  // namespace rl::app
