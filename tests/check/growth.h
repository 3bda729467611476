#pragma once
// Tests that an algorithm takes linear time, on any machine: by how its time grows, never by a time.

#include <algorithm>
#include <cmath>

#include <time.h>

namespace rl::check {

// By how much the processor time of work(input) grows from an input to one 16 times as large: 16 where it is linear,
// 256 where it is quadratic. The least of several runs each, since what else the machine does only adds; less than 50
// us counts as 50 us.
template <class Input, class Work>
double growth(const Input& small, const Input& large, Work&& work) {
  const auto now = [] {
    timespec time{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
  };
  const auto least = [&](const Input& input) {
    double seconds = HUGE_VAL;
    for (int run = 0; run < 3; ++run) {
      const double begin = now();
      work(input);
      seconds = std::min(seconds, now() - begin);
    }
    return std::max(seconds, 50e-6);
  };
  return least(large) / least(small);
}

// Between both: large data that no longer fits into a cache costs more than its size.
inline constexpr double kLinearGrowth = 64;

}  // namespace rl::check
