#include "lab/disturbance.h"

namespace rl::lab {
namespace {

// Half of what measure/ takes of the shortest task: 10 samples of 100 us.
constexpr Seconds kShortest{0.5e-3};
constexpr const char* kForeignLoad = "lab.foreign_load";

bool is_speed(const record::Metric& metric) {
  return metric.unit == "s" || metric.unit.ends_with("/s") || metric.unit == "J" || metric.unit == "tok/J" ||
         metric.unit == "W";
}

bool is_speed(const record::Row& row) {
  return std::any_of(row.metrics.begin(), row.metrics.end(),
                     [](const record::Metric& metric) { return is_speed(metric); });
}

// The longest that any of the row's times was measured, all samples together; nothing if none was sampled by measure/.
std::optional<Seconds> measured_time(const record::Row& row) {
  std::optional<Seconds> longest;
  for (const record::Metric& metric : row.metrics) {
    if (metric.unit != "s" || metric.stop == record::Stop::none || metric.samples.empty()) continue;
    double sum = 0;
    for (const double sample : metric.samples) sum += sample * metric.inner;
    longest = std::max(longest.value_or(Seconds{}), Seconds{sum});
  }
  return longest;
}

// Whether others' load on the processors is load on what computes.
bool on_processors(const Context& context) {
  return context.backend.device == nullptr || context.backend.device->info().arch.family == Arch::Family::cpu;
}

std::string percent(double share) { return format_significant(100 * share, 2) + "%"; }

}  // namespace

void ForeignLoad::look() {
  if (!read_) return;
  if (const auto now = read_()) looks_.push_back(*now);
}

std::optional<double> ForeignLoad::since_last() {
  const std::size_t before = looks_.size();
  look();
  if (looks_.size() == before || before == 0) return std::nullopt;
  const telemetry::CpuTime& end = looks_.back();
  while (looks_.size() > 2 && end.wall - looks_[1].wall >= kWindow) looks_.pop_front();
  if (end.wall - looks_.front().wall < kWindow) return std::nullopt;
  return telemetry::foreign_share(looks_.front(), end);
}

bool only_foreign_load(const record::Row& row) {
  const record::Validity& validity = row.validity;
  return !validity.valid && !validity.rules.empty() && validity.rules.size() == validity.reasons.size() &&
         std::ranges::count(validity.rules, kForeignLoad) == std::ssize(validity.rules);
}

void judge_point(const Info& info, const Context& context, const Added& from, std::optional<double> foreign,
                 record::Experiment& record) {
  const double limit = context.limits.max_foreign_load;
  const bool loaded = foreign && *foreign > limit && on_processors(context);
  bool dropped = loaded;
  for (std::size_t i = from.rows; i < record.rows.size(); ++i) {
    record::Row& row = record.rows[i];
    if (!is_speed(row)) continue;
    if (loaded && info.speed_rows)
      record::invalidate(
          row.validity,
          fmt::format("foreign load: other processes took {} of the processors' time, {} is the most ({})",
                      percent(*foreign), percent(limit), kForeignLoad),
          kForeignLoad);
    else if (foreign && *foreign > kForeignWarning)
      row.validity.warnings.push_back(
          fmt::format("foreign load: other processes took {} of the processors' time", percent(*foreign)));
    const Seconds least{context.effort * kShortest.count};
    if (const auto time = measured_time(row); time && *time < least) {
      std::string reason = fmt::format("short run: {} were measured in all, {} are the least (lab.short_run)",
                                       format_seconds(*time), format_seconds(least));
      if (info.speed_rows)
        record::invalidate(row.validity, std::move(reason), "lab.short_run");
      else
        row.validity.warnings.push_back(std::move(reason));
      dropped = true;
    }
  }
  if (!dropped || record.comparisons.size() <= from.comparisons) return;
  record.comparisons.erase(record.comparisons.begin() + static_cast<std::ptrdiff_t>(from.comparisons),
                           record.comparisons.end());
  record.notes.push_back(
      "Comparisons that rest on disturbed or too short measurements were left out; the rows say which.");
}

}  // namespace rl::lab
