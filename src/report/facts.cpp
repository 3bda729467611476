#include "report/facts.h"

#include "report/quantity.h"

namespace rl::report {

using namespace record;

namespace {

void add(Facts& facts, std::string_view name, std::string value) {
  if (!value.empty()) facts.emplace_back(name, std::move(value));
}

std::string bytes(std::int64_t count) {
  return count > 0 ? format_value(static_cast<double>(count), "B") : std::string();
}

}  // namespace

Facts machine_facts(const Run& run) {
  const Environment& e = run.environment;
  Facts facts;
  add(facts, "GPU", e.gpu);
  add(facts, "driver", e.driver);
  add(facts, "CUDA", e.cuda);
  add(facts, "processor", e.cpu);
  if (e.cores > 0) add(facts, "cores", fmt::format("{}", e.cores));
  add(facts, "instruction sets", e.isa);
  if (e.cpu_hz) add(facts, "clock", format_value(*e.cpu_hz, "Hz"));
  add(facts, "clock governor", e.governor);
  add(facts, "memory", bytes(e.memory_bytes));
  add(facts, "last cache level", bytes(e.last_cache_bytes));
  add(facts, "backends", joined(e.backends, ", "));
  add(facts, "system", e.os + (e.kernel.empty() ? "" : ", " + e.kernel));
  add(facts, "load before, after", fmt::format("{:.2f}, {:.2f}", e.load_before, e.load_after));
  return facts;
}

Facts model_facts(const Run& run) {
  const ModelInfo& m = run.model;
  Facts facts;
  add(facts, "name", m.name);
  add(facts, "family", m.family);
  if (m.parameters > 0) add(facts, "parameters", format_count(m.parameters));
  add(facts, "stored as", m.stored_as);
  add(facts, "computed as", m.computed_as);
  add(facts, "fingerprint", m.fingerprint);
  add(facts, "tokenizer fingerprint", m.tokenizer_fingerprint);
  return facts;
}

Facts run_facts(const Run& run) {
  const Environment& e = run.environment;
  Facts facts;
  add(facts, "id", run.id);
  add(facts, "mode", run.mode);
  add(facts, "seed", fmt::format("{}", run.seed));
  add(facts, "started", format_timestamp(run.started));
  add(facts, "finished", run.finished.empty() ? "no" : format_timestamp(run.finished));
  if (run.elapsed_seconds > 0) add(facts, "took", format_duration(run.elapsed_seconds));
  add(facts, "Redline", e.version);
  add(facts, "commit", e.commit);
  add(facts, "build", e.build);
  add(facts, "record schema", fmt::format("{}", run.schema_version));
  return facts;
}

std::string measured_of(const Hypothesis& h) {
  if (!h.measured_value && !h.measured) return "not measured";
  if (!h.measured) return format_value(*h.measured_value, "1");
  const double value = h.measured_value.value_or(0.5 * (h.measured->low + h.measured->high));
  const std::string interval = format_interval(*h.measured, value, "1");
  return h.measured_value ? format_value(value, "1") + " " + interval : interval;
}

std::string constant_text(const Axes& axes) {
  std::vector<std::string> parts;
  for (const auto& [name, value] : axes.constant) parts.push_back(name + " " + value);
  return joined(parts, ", ");
}

std::string validity_text(const Row& row) {
  std::string text = row.validity.valid ? "yes" : "INVALID";
  if (!row.validity.reasons.empty()) text += ": " + joined(row.validity.reasons, "; ");
  if (!row.validity.warnings.empty()) text += "; warning: " + joined(row.validity.warnings, "; ");
  if (!row.note.empty()) text += "; " + row.note;
  return text;
}

std::string cost_text(const Experiment& e) {
  std::vector<std::string> parts;
  if (e.elapsed_seconds > 0) parts.push_back("took " + format_duration(e.elapsed_seconds));
  if (e.peak_memory_bytes > 0)
    parts.push_back("peak memory " + bytes(e.peak_memory_bytes) + ", counted by the allocator");
  return joined(parts, "; ");
}

std::string reproduce_text(const Run& run) {
  std::string commit = run.environment.commit.empty() ? "the commit" : "commit " + run.environment.commit;
  return fmt::format(
      "Run this command with {} on this machine. Seed {} gives the same inputs; times differ within the intervals "
      "unless "
      "the machine does. `redline report {} --out DIR` draws this report again from its record.",
      commit, run.seed, run.id);
}

std::vector<std::pair<Badge, std::string>> verdict_rules() {
  return {{badge_of(Outcome::holds),
           "the whole measured 95% interval is at or above the lower expected bound, and not all of it is above the "
           "upper one"},
          {badge_of(Outcome::exceeds), "the whole measured interval is above the upper expected bound"},
          {badge_of(Outcome::refuted), "the whole measured interval is below the lower expected bound"},
          {badge_of(Outcome::inconclusive),
           "the measured interval contains the lower expected bound: these samples cannot tell"},
          {badge_of(Outcome::skipped), "it did not run here; the reason is given"},
          {badge_of(Outcome::invalid), "a check failed, so the numbers decide nothing; the reason is given"}};
}

std::vector<std::string> method_notes() {
  return {
      "A value is the statistic named with its samples, the median unless another is named; counted quantities have no "
      "interval.",
      "Square brackets hold the 95% interval. No sample is dropped in silence: outliers (beyond 3 scaled median "
      "absolute "
      "deviations) are counted and kept, discarded samples are counted and explained.",
      "Two variants are compared by interleaved samples, so that drift of the machine hits both alike. A ratio above 1 "
      "says "
      "that the candidate is better than the baseline; differences below the smallest effect count as the same.",
      "hot: inputs may be in the caches. cold: the caches were emptied of them. end to end: as a user waits.",
      "The path of a row names the variants that ran, taken from the plan that was executed.",
      "Correctness is checked before time: a row whose outputs fail the check is marked INVALID and used for nothing.",
      "Every sample is in record.json; every number of the tables is in results.csv with full precision."};
}

}  // namespace rl::report
