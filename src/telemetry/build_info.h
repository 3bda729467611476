#pragma once
// Which Redline this is. Files that only show it use this instead of version.h, and are not compiled again per commit.

#include <string>

namespace rl::telemetry {

struct BuildInfo {
  std::string version;  // "0.1.0"
  std::string commit;   // "a1b2c3d4e5", "a1b2c3d4e5 (modified)", "unknown" outside a git checkout
  std::string build;    // "Release g++ 12.2"
};
BuildInfo build_info();

}  // namespace rl::telemetry
