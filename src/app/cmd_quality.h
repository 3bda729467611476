#pragma once
// `redline quality`: perplexity of a text under a model, and what formats cost beside a baseline.

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "app/wiring.h"
#include "base/result.h"

namespace rl::app {

struct QualityOptions {
  std::string model;
  DeviceOptions device;
  std::string text;                  // a file; empty: the demo model's held-out text
  std::int64_t window = 1024;        // tokens of a window, the begin token included
  std::int64_t tokens = 0;           // scored at most; 0: the whole text
  std::int64_t prompts = 8;          // whose greedy outputs are compared
  std::string format = "bf16";       // without formats: the perplexity in this one
  std::vector<std::string> formats;  // each is compared with the baseline
  std::string baseline = "bf16";
  std::string kv_cache = "auto";  // of `format`, or of `formats`: the baseline's is that of its activations
  bool json = false;
};

// Errors: unsupported for a synthetic model (random weights have no quality), those of loading and of the text.
Status cmd_quality(const QualityOptions& options, std::FILE* out);

}  // namespace rl::app
