#pragma once
// Where the device's memory goes, decided before anything runs.

#include <cstdint>
#include <string>
#include <vector>

#include "base/units.h"

namespace rl::engine {

struct MemoryPlan {
  struct Line {
    std::string name;  // "weights", "rope tables", "activations", "workspace", "step inputs", "logits", "kv pages"
    Bytes bytes;
    std::string note;
    bool pinned = false;  // host memory that copies fast: not part of total()
  };
  std::vector<Line> lines;
  std::int64_t pages = 0;  // of the KV cache
  std::int64_t page_tokens = 0;
  std::int64_t max_context_tokens = 0;  // that fit in all pages together

  Bytes total() const;                      // of the device's memory
  Bytes of(const std::string& name) const;  // of the line with this name; 0 if there is none
  std::string table() const;                // for people
};

}  // namespace rl::engine
