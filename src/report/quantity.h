#pragma once
// Numbers for people: three significant digits with the unit, one scale for a chart's axis.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "record/record.h"

namespace rl::report {

// A unit that a base unit's values are shown in: shown = value / factor.
struct Scale {
  double factor = 1;
  std::string unit;  // "ms", "MiB", "TFLOP/s"; "" for a pure number
};

// The scale for values of about this magnitude. Bytes take powers of 1024, all else powers of 1000. A unit that is not
// known is kept as it is.
Scale scale_for(double magnitude, std::string_view unit);

// "12.3 ms", "4.00 MiB", "183 tok/s", "2.31". What is not finite is "not a number", "infinite".
std::string format_value(double value, std::string_view unit);
// "[12.1, 12.5]" in the scale of `value`, without the unit, with digits enough that the bounds differ from each other.
std::string format_interval(const record::Interval& interval, double value, std::string_view unit);
// An expectation: "2.00 to 4.00", and "at least 2.00" where there is no upper bound.
std::string format_expected(const record::Interval& interval, std::string_view unit);
// "12.3 ms [12.1, 12.5]"
std::string format_metric(const record::Metric& metric);
// "±1.2%": half the interval's width over the value; "" without an interval.
std::string format_spread(const record::Metric& metric);
std::string format_duration(double seconds);         // "48.2 s", "2 min 14 s", "1 h 02 min"
std::string format_count(std::int64_t count);        // "1.24 billion", "812 million", "43 thousand", "512"
std::string format_timestamp(std::string_view iso);  // "2026-11-23 14:05 UTC" from ISO 8601; other text as it is

// A name of the record's as people write it: "end_to_end" -> "end to end".
std::string words(std::string_view name);

// An axis with its unit, for a chart: "seq" -> "seq (tokens)". Axes keep their names, which are also the flags'.
std::string axis_title(std::string_view axis);

// Round values in [low, high] for an axis that is not logarithmic, about `wanted` of them.
std::vector<double> nice_ticks(double low, double high, int wanted);
// Powers of ten within [low, high], with 2 and 5 times them where the range is short. low > 0.
std::vector<double> log_ticks(double low, double high);
// A tick's label: as short as it can be told apart ("0.5", "100", "1e9").
std::string format_tick(double value);

}  // namespace rl::report
