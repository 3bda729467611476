#pragma once
// Times by their logarithm: how a program counts millions of them in a fixed place and still tells their quantiles,
// which a few that the system interrupted do not move.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "base/units.h"

namespace rl::engine {

inline constexpr double kMedian = 0.5, kLeastTenth = 0.1;  // shares, of quantile_since

class TimeHistogram {
 public:
  void add(Seconds time) {
    const double octaves = std::log2(std::max(time.count, kLeast) / kLeast);
    ++counts_[std::min(static_cast<std::size_t>(octaves * kPerOctave), counts_.size() - 1)];
  }
  // What `share` of the times added since `before`, an earlier copy, do not exceed. To within 2.2%, from 62.5 ns to
  // 0.26 s. 0 of none.
  Seconds quantile_since(const TimeHistogram& before, double share) const {
    std::int64_t all = 0, seen = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) all += counts_[i] - before.counts_[i];
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i] - before.counts_[i];
      if (static_cast<double>(seen) > share * static_cast<double>(all))
        return {kLeast * std::exp2((static_cast<double>(i) + 0.5) / kPerOctave)};
    }
    return {};
  }

 private:
  static constexpr double kLeast = 62.5e-9, kPerOctave = 16;
  std::array<std::int64_t, 352> counts_{};
};

}  // namespace rl::engine
