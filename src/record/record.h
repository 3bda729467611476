#pragma once
// What a result is: plain data, written by measure/, lab/ and the experiments, read by report/. Every number a user
// sees comes from here. Field names are the JSON keys (record/json.cpp); a change of meaning raises kSchemaVersion.

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace rl::record {

inline constexpr int kSchemaVersion = 3;

struct Interval {
  double low = 0, high = 0;
};

enum class Better { higher, lower, neither };
// How the time was taken. cold: caches emptied of the inputs; hot: inputs may be in cache; end_to_end: as a user waits.
enum class Timing { none, cold, hot, end_to_end };
// Why sampling ended.
enum class Stop { none, converged, max_samples, timeout };

// One measured or counted quantity of one row. Units are SI words: "s", "B", "B/s", "FLOP/s", "tok/s", "J", "W", "1".
struct Metric {
  std::string name;  // "prefill_throughput", "decode_time", "workspace_bytes"
  std::string unit;
  Better better = Better::neither;
  double value = 0;  // the statistic of the samples; a counted quantity's value
  // "median"; "inverse median" (1 / median of 1 / sample: rates); "count", "fit", "p99" ... measure::summarise knows
  // what follows from samples.
  std::string statistic = "median";
  std::optional<Interval> ci95;  // absent for counted quantities
  std::optional<double> noise;   // relative standard deviation; absent below 5 samples
  Timing timing = Timing::none;
  Stop stop = Stop::none;
  int warmup = 0;               // iterations before the first sample
  int inner = 1;                // repetitions within a sample, which is the time of one of them
  int discarded = 0;            // samples dropped, with the reason in Row::validity.reasons
  int outliers = 0;             // samples beyond 3 scaled median absolute deviations; kept
  std::uint64_t seed = 0;       // of the bootstrap that made ci95; 0: the run's
  std::vector<double> samples;  // every one, in the order taken; empty for counted quantities
};

struct Validity {
  bool valid = true;
  std::vector<std::string> reasons;   // why not valid
  std::vector<std::string> warnings;  // valid, but the reader should know
  // Of the reasons, in their order, the rules that gave them ("lab.foreign_load"; "" where it has no name); shorter
  // where the last ones have none.
  std::vector<std::string> rules = {};
};
void invalidate(Validity& validity, std::string reason, std::string rule = {});

// One point of an experiment's axes.
struct Row {
  std::vector<std::pair<std::string, std::string>>
      axes;  // {"variant", "flash"}, {"seq", "1024"}, in the order of the axes
  std::vector<Metric> metrics;
  std::vector<std::string> path;  // the variants that ran: the path certificate
  Validity validity;
  std::string note;
};

// A comparison of two ways of doing the same thing, from interleaved samples.
enum class Verdict { same, better, worse, inconclusive };

struct Comparison {
  std::string baseline, candidate;  // what was compared, for people: "standard, seq 1024" ...
  std::string metric;
  double ratio = 1;  // > 1: the candidate is better (times: baseline / candidate; rates: candidate / baseline)
  Interval ci95;     // of the ratio
  double smallest_effect = 0.01;  // relative; smaller differences count as the same
  Verdict verdict = Verdict::inconclusive;
};

// An expectation of the plan and what became of it. With the measured interval [a, b] and the expected [lo, hi]:
// refuted if b < lo, exceeds if a > hi, holds if a >= lo, else inconclusive. Computed by lab/hypothesis, never typed.
enum class Outcome { holds, exceeds, refuted, inconclusive, skipped, invalid };

struct Hypothesis {
  std::string id;     // "attention.speed"
  std::string claim;  // the plan's words: "2-4x speedup for long sequences"
  std::string metric;
  std::string where;  // the part of the axes it speaks of
  Interval expected;
  std::optional<Interval> measured;
  std::optional<double> measured_value;
  Outcome outcome = Outcome::skipped;
  std::string reason;  // skipped, invalid, inconclusive: why
};

// What flags and axes call the run's own model, where an experiment takes others beside it.
inline constexpr const char* kOwnModel = "given";

// How the report draws rows: one line per value of `series`, y over x.
struct Chart {
  std::string title;
  std::string x;                                           // an axis with numbers
  std::string y;                                           // a metric
  std::string series;                                      // an axis
  std::vector<std::pair<std::string, std::string>> where;  // only rows with these axis values
  bool log_x = false, log_y = false;
  bool bars = false;
  double bar_base = 0;  // where bars begin, in base units: 1 for ratios
};

enum class State { done, skipped, failed, invalid, not_built };

struct Experiment {
  std::string id;  // "attention"
  std::string title;
  std::string plan;      // section of the experiment plan: "1.1"
  std::string question;  // one sentence
  std::string baseline;  // what every ratio refers to
  State state = State::not_built;
  std::vector<std::string> reasons;    // of skipped, failed, invalid
  std::string remedy;                  // what would make a skipped one run
  std::string expected, measured;      // the headline's two short texts (at most 24 characters each)
  Outcome outcome = Outcome::skipped;  // the headline's verdict
  std::string meaning, advice;         // one sentence each, computed from the results
  std::vector<Hypothesis> hypotheses;
  std::vector<Row> rows;
  std::vector<Comparison> comparisons;
  std::vector<Chart> charts;
  std::vector<std::string> notes;  // method and limits, for the reader
  double elapsed_seconds = 0;
  std::int64_t peak_memory_bytes = 0;  // of the device, by the allocator
};

// The machine and the program a run was made with. Free of personal data: home folder, host and user names are
// replaced.
struct Environment {
  std::string os, kernel, cpu;
  int cores = 0;
  std::int64_t memory_bytes = 0;
  std::int64_t last_cache_bytes = 0;
  std::string isa;       // "avx512_bf16 avx512_vnni avx512 avx2"
  std::string governor;  // "" where the kernel does not say
  std::optional<double> cpu_hz;
  double load_before = 0, load_after = 0;  // 1-minute load average
  std::vector<std::string> backends;       // "cpu", "cuda"
  std::string gpu, driver, cuda;           // "" where there is none
  std::string version, commit, build;      // of Redline: "0.1.0", "a1b2c3d (modified)", "Release g++ 12.2"
};

struct ModelInfo {
  std::string name;  // as given: "demo", a folder, "synthetic:llama-3-8b"
  std::string family;
  std::string fingerprint;  // of config and weights, how: model/model.h
  std::string tokenizer_fingerprint;
  std::int64_t parameters = 0;
  std::string stored_as;    // "bf16"
  std::string computed_as;  // "bf16"
};

struct Run {
  int schema_version = kSchemaVersion;
  std::string id;                 // "20261123-140509-quick": the folder's name too
  std::string command;            // as typed
  std::string mode;               // "quick", "full", "custom"
  std::string started, finished;  // UTC, ISO 8601
  std::uint64_t seed = 0;
  // What was asked for and changes what is measured: {"experiments", "baseline,attention"}, {"--seq", "128,256"} ...
  std::vector<std::pair<std::string, std::string>> settings;
  double elapsed_seconds = 0;
  Environment environment;
  ModelInfo model;
  Validity validity;
  std::vector<Experiment> experiments;
};

// The words used in JSON, terminal and report: "same", "holds", "not built yet", ...
const char* name_of(Better);
const char* name_of(Timing);
const char* name_of(Stop);
const char* name_of(Verdict);
const char* name_of(Outcome);
const char* name_of(State);

}  // namespace rl::record
