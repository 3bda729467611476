#pragma once
// `redline doctor --fit`: how many sequences of which context fit a memory, by format. Nothing is loaded.

#include <cstdio>
#include <string>
#include <vector>

#include "base/result.h"

namespace rl::app {

struct FitOptions {
  std::string model;                   // as -m; empty: demo
  std::vector<std::string> formats;    // empty: every one there is
  std::string kv_cache = "auto";       // engine::kv_cache_type_from
  std::string memory;                  // "32GiB"; empty: what this machine's device has available
  std::vector<std::int64_t> contexts;  // tokens; empty: powers of four from 1024 up to the model's most
  bool json = false;
};

Status cmd_fit(const FitOptions& options, std::FILE* out);

}  // namespace rl::app
