#pragma once
// Measured choices: the variant that was fastest for a shape, kept in a file for one device, driver and build. Who
// times them is the engine (engine/variant_tuner.h).

#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/units.h"

namespace rl::ops {

// One call of each variant that was timed, the fastest first, ties in the order of the list.
struct Choice {
  struct Timed {
    std::string variant;
    Seconds seconds;
  };
  std::vector<Timed> timed;  // never empty
  const std::string& best() const { return timed.front().variant; }
};

// Thread-safe: engines side by side share one.
class Choices {
 public:
  // identity: what the times hold for: device, driver, build. file: empty, for choices of this process alone. What is
  // in the file for another identity is ignored with a warning, as is a file that is none of ours or was cut short;
  // retune: it is not read at all. Either is replaced by the first save.
  Choices(std::filesystem::path file, std::string identity, bool retune = false);
  Choices(const Choices&) = delete;
  Choices& operator=(const Choices&) = delete;

  std::optional<Choice> find(const std::string& shape) const;
  void insert(const std::string& shape, Choice choice);
  // Writes what was inserted since, if anything was. Errors: io.
  Status save();

 private:
  void load();

  std::filesystem::path file_;
  std::string identity_;
  mutable std::mutex mutex_;
  std::map<std::string, Choice> by_shape_;
  bool changed_ = false;
};

}  // namespace rl::ops
