#pragma once
// The axes of an experiment and the points of their cross product.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace rl::lab {

struct Axis {
  std::string name;                      // "seq"; on the command line: --seq
  std::string meaning;                   // "tokens of the sequence"
  std::vector<std::string> quick, full;  // values of the two modes, smallest first
  std::vector<std::string> gpu = {};     // of a full run on a GPU; empty: those of `full`
  bool open = false;                     // others are values too: which, the experiment says when it measures
};
enum class AxisSet { quick, full, gpu };

// The largest number that is a value of an axis: a million tokens, sequences or GiB are more than any machine has, and
// sizes made of two such numbers and an element's bytes stay far within 64 bits.
inline constexpr std::int64_t kMostOfAnAxis = std::int64_t{1} << 20;

// One value per axis, in the order of the axes.
class Point {
 public:
  Point() = default;
  explicit Point(std::vector<std::pair<std::string, std::string>> values) : values_(std::move(values)) {}
  const std::string& text(std::string_view axis) const;  // a bug if there is no such axis
  std::int64_t number(std::string_view axis) const;      // of an axis whose values are numbers
  const std::vector<std::pair<std::string, std::string>>& values() const { return values_; }
  std::string label() const;  // "seq 1024, causal yes"

 private:
  std::vector<std::pair<std::string, std::string>> values_;
};

// Of a value that is a whole number and nothing else.
std::optional<std::int64_t> parse_number(std::string_view text);

// "512", "128,256,512", "128..4096" (doubling), "1..16+5" (adding), words: "yes,no"; each value once. Errors: usage.
Result<std::vector<std::string>> parse_values(std::string_view text);

using AxisOverrides = std::map<std::string, std::vector<std::string>, std::less<>>;

// All combinations, the last axis fastest. An override replaces an axis' values. Errors: usage for an override of no
// axis, or with a value that the axis cannot have: unless it is open, an axis takes the words of its modes, and numbers
// from 1 to kMostOfAnAxis if any of those is a number.
Result<std::vector<Point>> cross(const std::vector<Axis>& axes, AxisSet set, const AxisOverrides& overrides);
// The values of one axis.
const std::vector<std::string>& values_of(const Axis& axis, AxisSet set, const AxisOverrides& overrides);

}  // namespace rl::lab
