#include "engine/stop_filter.h"

namespace rl::engine {

std::string StopFilter::push(std::string_view piece) {
  if (stopped_) return {};
  if (stops_.empty()) return std::string(piece);
  pending_ += piece;
  std::size_t found = std::string::npos;
  for (const std::string& stop : stops_) found = std::min(found, pending_.find(stop));
  std::string certain;
  if (found != std::string::npos) {
    stopped_ = true;
    certain = pending_.substr(0, found);
    pending_.clear();
  } else {
    const std::size_t out = pending_.size() - held_suffix();
    certain = pending_.substr(0, out);
    pending_.erase(0, out);
  }
  return certain;
}

std::string StopFilter::finish() {
  if (stopped_) return {};
  return std::exchange(pending_, {});
}

// The longest end of the pending text that begins a stop string. What is pending is shorter than the longest stop
// string plus one piece, so this is a few comparisons.
std::size_t StopFilter::held_suffix() const {
  std::size_t held = 0;
  for (const std::string& stop : stops_)
    for (std::size_t n = std::min(stop.size() - 1, pending_.size()); n > held; --n)
      if (std::string_view(pending_).ends_with(std::string_view(stop).substr(0, n))) held = n;
  return held;
}

}  // namespace rl::engine
