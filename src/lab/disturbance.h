#pragma once
// Rules that hold for every experiment's rows, applied by the runner after each point: nobody else used the processors
// meanwhile, and what was timed lasted long enough. docs/measuring.md names them with their thresholds.

#include <deque>
#include <functional>
#include <optional>

#include "lab/experiment.h"

namespace rl::lab {

// Rows made faster or slower by others: the share of the machine's processor time that other processes took.
class ForeignLoad {
 public:
  // `read` may be empty: then nothing is known of others.
  explicit ForeignLoad(std::function<std::optional<telemetry::CpuTime>()> read) : read_(std::move(read)) { look(); }
  // The share since the point before, or since earlier ones where that is less than kWindow. Nothing while it is not
  // known: no source, or less than kWindow since the first look.
  std::optional<double> since_last();

  static constexpr Seconds kWindow{0.5};  // 50 ticks of /proc/stat: the share is known to some 2% of a processor

 private:
  void look();
  std::function<std::optional<telemetry::CpuTime>()> read_;
  std::deque<telemetry::CpuTime> looks_;  // the ends of points, oldest first
};

// What one point added to a record, from these sizes on.
struct Added {
  std::size_t rows = 0, comparisons = 0;
};

// Judges what a point added. Rows of speed (a metric in seconds, per second, joules or watts) become invalid, and the
// point's comparisons go, as nothing may rest on them, if
//   "lab.foreign_load"  others took more than limits.max_foreign_load of the processors' time, and computation is on
//                       the processors; from kForeignWarning on a warning;
//   "lab.short_run"     all samples together lasted less than 0.5 ms (of effort 1).
// Where info.speed_rows is false the rows are of quality or memory: they get a warning and stay valid.
void judge_point(const Info& info, const Context& context, const Added& from, std::optional<double> foreign,
                 record::Experiment& record);

// Whether a row is invalid for foreign load and nothing else: not the program's fault, and nothing is known of its
// speed.
bool only_foreign_load(const record::Row& row);

inline constexpr double kForeignWarning = 0.05;

}  // namespace rl::lab
