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

// What the allocator had given out at most while the rows' point was measured: all of the point, weights included.
void add_peak(Bytes peak, std::size_t first_row, record::Experiment& record) {
  if (peak.count == 0) return;
  for (std::size_t i = first_row; i < record.rows.size(); ++i)
    record.rows[i].metrics.push_back({.name = "point_peak_memory",
                                      .unit = "B",
                                      .better = record::Better::lower,
                                      .value = static_cast<double>(peak.count),
                                      .statistic = "count"});
}

// What every call of the device would fail with, once it is lost.
std::optional<Error> loss_of(const Context& context) {
  return context.backend.device != nullptr ? context.backend.device->lost() : std::nullopt;
}

// A vector of an experiment that finds no memory ends the part it was for, not the run.
Status guarded(const std::function<Status()>& part) {
  try {
    return part();
  } catch (const std::bad_alloc&) {
  } catch (const std::length_error&) {}
  return Error{.kind = ErrorKind::out_of_memory, .what = "this machine has too little memory for it"};
}

}  // namespace

Result<std::vector<Point>> points_of(const Experiment& experiment, const Context& context) {
  RL_ASSIGN(std::vector<Point> points, cross(experiment.axes(context), context.axis_set(), context.axes));
  if (context.axes.empty())
    std::erase_if(points, [&](const Point& point) { return !experiment.wanted(point, context); });
  return points;
}

Seconds expected_time(const Info& info, const Context& context) {
  if (!context.full()) return info.expected_quick;
  return context.on_gpu() && info.expected_gpu.count > 0 ? info.expected_gpu : info.expected_full;
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
  if (!entry.info.runs_model) context.weights.drop();
  const Seconds start = monotonic_now();
  context.memory.reset_peak();
  record.state = record::State::done;

  Status status = guarded([&] { return experiment->begin(context, record); });
  std::optional<Error> lost = loss_of(context);
  ForeignLoad foreign(context.cpu_time);
  Bytes peak = context.memory.peak();
  for (std::size_t i = 0; status && !lost && i < points.size(); ++i) {
    context.memory.reset_peak();
    const Added before{.rows = record.rows.size(), .comparisons = record.comparisons.size()};
    if (context.progress) context.progress(points[i].label(), static_cast<int>(i), static_cast<int>(points.size()));
    if (const Status measured = guarded([&] { return experiment->measure(context, points[i], record); }); !measured) {
      const Error& error = measured.error();
      record::invalidate(record.rows.emplace_back(record::Row{.axes = points[i].values()}).validity, reason_of(error),
                         error.rule);
    }
    judge_point(entry.info, context, before, foreign.since_last(), record);
    add_peak(context.memory.peak(), before.rows, record);
    peak = std::max(peak, context.memory.peak());
    lost = loss_of(context);
    if (!lost) continue;
    // Whatever this point still said was said by calls that failed.
    for (std::size_t row = before.rows; row < record.rows.size(); ++row)
      if (record.rows[row].validity.valid) record::invalidate(record.rows[row].validity, reason_of(*lost), lost->rule);
  }
  if (status && !lost) status = guarded([&] { return experiment->conclude(context, record); });
  if (!lost) lost = loss_of(context);
  if (lost) status = *std::move(lost);
  if (!status) end_with(record, record::State::failed, status.error());
  record.peak_memory_bytes = std::max(peak, context.memory.peak()).count;
  record.elapsed_seconds = (monotonic_now() - start).count;
  return record;
}

}  // namespace rl::lab
