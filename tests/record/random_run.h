#pragma once
// Random records for property tests: every field set, every enumerator, odd texts and odd numbers.

#include <bit>
#include <cmath>
#include <random>

#include "record/record.h"

namespace rl::record {

class RandomRun {
 public:
  explicit RandomRun(std::uint64_t seed) : engine_(seed) {}

  Run run() {
    return {.id = text(),
            .command = text(),
            .mode = text(),
            .started = text(),
            .finished = text(),
            .seed = engine_(),
            .settings = pairs(),
            .elapsed_seconds = number(),
            .environment = environment(),
            .model = {.name = text(),
                      .family = text(),
                      .fingerprint = text(),
                      .tokenizer_fingerprint = text(),
                      .parameters = integer(),
                      .stored_as = text(),
                      .computed_as = text()},
            .validity = validity(),
            .experiments = list<Experiment>([this] { return experiment(); })};
  }

  Experiment experiment() {
    return {.id = text(),
            .title = text(),
            .plan = text(),
            .question = text(),
            .baseline = text(),
            .state = word<State>(5),
            .reasons = texts(),
            .remedy = text(),
            .expected = text(),
            .measured = text(),
            .outcome = word<Outcome>(6),
            .meaning = text(),
            .advice = text(),
            .hypotheses = list<Hypothesis>([this] { return hypothesis(); }),
            .rows = list<Row>([this] { return row(); }),
            .comparisons = list<Comparison>([this] { return comparison(); }),
            .charts = list<Chart>([this] { return chart(); }),
            .notes = texts(),
            .elapsed_seconds = number(),
            .peak_memory_bytes = integer()};
  }

 private:
  std::size_t below(std::size_t bound) { return static_cast<std::size_t>(engine_() % bound); }
  bool coin() { return (engine_() & 1) != 0; }
  std::int64_t integer() { return static_cast<std::int64_t>(engine_()) >> below(64); }
  int small() { return static_cast<int>(engine_()); }

  // Any finite bit pattern, or a number with an awkward decimal form.
  double number() {
    constexpr double kAwkward[] = {
        0.0,    -0.0, 0.1, 1e22, 1e23, 5e-324, 2.2250738585072011e-308, 1.7976931348623157e308, 9007199254740993.0,
        1.0 / 3};
    if (below(3) == 0) return kAwkward[below(std::size(kAwkward))];
    for (;;)
      if (const double value = std::bit_cast<double>(engine_()); std::isfinite(value)) return value;
  }

  std::string text() {
    constexpr const char* kPieces[] = {"a",  "seq", " ", "\"", "\\", "\n", "\t",   "\x01", "/", "é",
                                       "漢", "😀",   "{", "]",  ",",  ":",  "null", "\x7f", "0", "\u2028"};
    std::string result;
    for (std::size_t i = below(6); i > 0; --i) result += kPieces[below(std::size(kPieces))];
    return result;
  }

  template <class T, class F>
  std::vector<T> list(F make) {
    std::vector<T> result;
    for (std::size_t i = below(4); i > 0; --i) result.push_back(make());
    return result;
  }
  std::vector<std::string> texts() {
    return list<std::string>([this] { return text(); });
  }
  std::vector<std::pair<std::string, std::string>> pairs() {
    std::vector<std::pair<std::string, std::string>> result;  // names do not repeat
    for (std::size_t i = below(4); i > 0; --i) result.emplace_back(std::to_string(i) + text(), text());
    return result;
  }
  template <class E>
  E word(std::size_t count) {
    return static_cast<E>(below(count));
  }

  Interval interval() { return {number(), number()}; }
  std::optional<Interval> maybe_interval() { return coin() ? std::optional(interval()) : std::nullopt; }
  std::optional<double> maybe_number() { return coin() ? std::optional(number()) : std::nullopt; }
  Validity validity() { return {.valid = coin(), .reasons = texts(), .warnings = texts(), .rules = texts()}; }

  Metric metric() {
    return {.name = text(),
            .unit = text(),
            .better = word<Better>(3),
            .value = number(),
            .statistic = text(),
            .ci95 = maybe_interval(),
            .noise = maybe_number(),
            .timing = word<Timing>(4),
            .stop = word<Stop>(4),
            .warmup = small(),
            .inner = small(),
            .discarded = small(),
            .outliers = small(),
            .seed = engine_(),
            .samples = list<double>([this] { return number(); })};
  }
  Row row() {
    return {.axes = pairs(),
            .metrics = list<Metric>([this] { return metric(); }),
            .path = texts(),
            .validity = validity(),
            .note = text()};
  }
  Comparison comparison() {
    return {.baseline = text(),
            .candidate = text(),
            .metric = text(),
            .ratio = number(),
            .ci95 = interval(),
            .smallest_effect = number(),
            .verdict = word<Verdict>(4)};
  }
  Hypothesis hypothesis() {
    return {.id = text(),
            .claim = text(),
            .metric = text(),
            .where = text(),
            .expected = interval(),
            .measured = maybe_interval(),
            .measured_value = maybe_number(),
            .outcome = word<Outcome>(6),
            .reason = text()};
  }
  Chart chart() {
    return {.title = text(),
            .x = text(),
            .y = text(),
            .series = text(),
            .where = pairs(),
            .log_x = coin(),
            .log_y = coin(),
            .bars = coin(),
            .bar_base = static_cast<double>(below(3))};
  }
  Environment environment() {
    return {.os = text(),
            .kernel = text(),
            .cpu = text(),
            .cores = small(),
            .memory_bytes = integer(),
            .last_cache_bytes = integer(),
            .isa = text(),
            .governor = text(),
            .cpu_hz = maybe_number(),
            .load_before = number(),
            .load_after = number(),
            .backends = texts(),
            .gpu = text(),
            .driver = text(),
            .cuda = text(),
            .version = text(),
            .commit = text(),
            .build = text()};
  }

  std::mt19937_64 engine_;
};

}  // namespace rl::record
