#include "lab/runner.h"

#include "base/clock.h"
#include "lab/disturbance.h"

namespace rl::lab {
namespace {

record::Experiment blank(const Info& info) {
  record::Experiment record;
  record.id = info.id;
  record.title = info.title;
  record.plan = info.plan;
  record.question = info.question;
  record.baseline = info.baseline;
  record.expected = info.expected;
  record.hypotheses = info.hypotheses;
  return record;
}

// "internal: a request ended before its last token (expected 4 tokens, found 1 tokens, stop) [load.truncated]"
std::string reason_of(const Error& error) {
  std::string text = std::string(to_string(error.kind)) + ": " + error.what;
  if (!error.expected.empty() && !error.found.empty())
    text += fmt::format(" (expected {}; found {})", error.expected, error.found);
  if (!error.rule.empty()) text += fmt::format(" [{}]", error.rule);
  return text;
}

void end_with(record::Experiment& record, record::State state, const Error& error) {
  record.state = state;
  record.outcome = state == record::State::skipped ? record::Outcome::skipped : record::Outcome::invalid;
  record.reasons.push_back(error.what + (error.found.empty() ? "" : ": " + error.found));
  if (!error.hint.empty()) record.remedy = error.hint;
  for (record::Hypothesis& hypothesis : record.hypotheses) {
    hypothesis.outcome = record.outcome;
    hypothesis.reason = record.reasons.back();
  }
}

// What every call of the device would fail with, once it is lost.
std::optional<Error> loss_of(const Context& context) {
  return context.backend.device != nullptr ? context.backend.device->lost() : std::nullopt;
}

}  // namespace

Result<std::vector<Point>> points_of(const Experiment& experiment, const Context& context) {
  RL_ASSIGN(std::vector<Point> points, cross(experiment.axes(context), context.full(), context.axes));
  if (context.axes.empty())
    std::erase_if(points, [&](const Point& point) { return !experiment.wanted(point, context.mode); });
  return points;
}

Result<record::Experiment> run_experiment(const Entry& entry, Context& context) {
  record::Experiment record = blank(entry.info);
  if (entry.make == nullptr) return record;

  const std::unique_ptr<Experiment> experiment = entry.make();
  RL_ASSIGN(const std::vector<Point> points, points_of(*experiment, context));
  if (const auto lost = loss_of(context)) {
    end_with(record, record::State::skipped,
             {.what = "not run: the device was lost before it began", .hint = lost->hint});
    return record;
  }
  if (const Status can = experiment->available(context); !can) {
    end_with(record, record::State::skipped, can.error());
    return record;
  }
  const Seconds start = monotonic_now();
  context.memory.reset_peak();
  record.state = record::State::done;

  Status status = experiment->begin(context, record);
  std::optional<Error> lost = loss_of(context);
  ForeignLoad foreign(context.cpu_time);
  for (std::size_t i = 0; status && !lost && i < points.size(); ++i) {
    const Added before{.rows = record.rows.size(), .comparisons = record.comparisons.size()};
    if (context.progress) context.progress(points[i].label(), static_cast<int>(i), static_cast<int>(points.size()));
    if (const Status measured = experiment->measure(context, points[i], record); !measured) {
      const Error& error = measured.error();
      record.rows.push_back({.axes = points[i].values(), .validity = {.valid = false, .reasons = {reason_of(error)}}});
    }
    judge_point(entry.info, context, before, foreign.since_last(), record);
    lost = loss_of(context);
    if (!lost) continue;
    // Whatever this point still said was said by calls that failed.
    for (std::size_t row = before.rows; row < record.rows.size(); ++row) {
      record::Validity& validity = record.rows[row].validity;
      if (std::exchange(validity.valid, false)) validity.reasons.push_back(reason_of(*lost));
    }
  }
  if (status && !lost) status = experiment->conclude(context, record);
  if (!lost) lost = loss_of(context);
  if (lost) status = *std::move(lost);
  if (!status) end_with(record, record::State::failed, status.error());
  record.peak_memory_bytes = context.memory.peak().count;
  record.elapsed_seconds = (monotonic_now() - start).count;
  return record;
}

}  // namespace rl::lab
