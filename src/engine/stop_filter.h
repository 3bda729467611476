#pragma once
// Finds stop strings in text that arrives in pieces. Text that may still become a stop string is held back; a stop
// string and what follows it are never given out.

#include <string>
#include <string_view>
#include <vector>

namespace rl::engine {

class StopFilter {
 public:
  StopFilter() = default;
  explicit StopFilter(std::vector<std::string> stops) : stops_(std::move(stops)) {}  // none of them empty

  // Text that is certain not to belong to a stop string. Once one is complete: the text before it, and stopped().
  std::string push(std::string_view piece);
  std::string finish();  // at the end of the text: what was held back
  bool stopped() const { return stopped_; }

 private:
  std::size_t held_suffix() const;

  std::vector<std::string> stops_;
  std::string pending_;
  bool stopped_ = false;
};

}  // namespace rl::engine
