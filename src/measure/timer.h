#pragma once
// The clock a measurement reads. Real runs use the program's monotonic clock; tests use a simulated one. The functions
// are those of measure.h with a clock of the caller's.

#include "measure/measure.h"

namespace rl::measure {

class Timer {
 public:
  virtual ~Timer() = default;
  virtual Seconds now() = 0;
};

Result<record::Metric> run(const Plan& plan, const Task& task, Timer& timer);
Result<PairResult> run_pair(const Plan& plan, const Task& a, const Task& b, Timer& timer);
Result<GroupResult> run_group(const Plan& plan, std::span<const Task> tasks, Timer& timer);
Result<record::Metric> run_values(const Plan& plan, std::string name, std::string unit, record::Better better,
                                  const std::function<Result<double>()>& sample, Timer& timer);

}  // namespace rl::measure
