#include "experiments/timeline.h"

#include "measure/statistics.h"

namespace rl::experiments {

Result<std::unique_ptr<Event>> TimedTarget::mark() {
  RL_CHECK(device_.stream() != nullptr);
  RL_ASSIGN(std::unique_ptr<Event> event, device_.make_timed_event());
  RL_TRY(device_.stream()->record(*event));
  return event;
}

Result<std::vector<engine::TokenEvent>> TimedTarget::step() {
  RL_ASSIGN(std::unique_ptr<Event> before, mark());
  RL_ASSIGN(std::vector<engine::TokenEvent> events, target_.step());
  RL_ASSIGN(std::unique_ptr<Event> after, mark());
  steps_.emplace_back(std::move(before), std::move(after));
  return events;
}

Result<std::vector<Span>> TimedTarget::spans(const Event& origin) const {
  RL_TRY(device_.stream()->synchronize());
  std::vector<Span> spans;
  for (const auto& [before, after] : steps_) {
    Span span;
    RL_ASSIGN(span.begin, device_.elapsed(origin, *before));
    RL_ASSIGN(span.end, device_.elapsed(origin, *after));
    spans.push_back(span);
  }
  return spans;
}

Overlap overlap_of(const std::vector<std::vector<Span>>& workers) {
  std::vector<std::pair<double, int>> changes;  // of the number of steps that are on the device
  std::vector<double> lengths;
  for (const std::vector<Span>& spans : workers)
    for (const Span& span : spans) {
      changes.emplace_back(span.begin.count, 1);
      changes.emplace_back(span.end.count, -1);
      lengths.push_back((span.end - span.begin).count);
    }
  std::ranges::sort(changes);  // at equal times an end comes before a begin
  double busy = 0, shared = 0, sum = 0, last = 0;
  int now = 0;
  for (const auto& [time, change] : changes) {
    if (now > 0) busy += time - last;
    if (now > 1) shared += time - last;
    sum += now * (time - last);
    now += change;
    last = time;
  }
  Overlap overlap;
  if (busy <= 0) return overlap;
  overlap.share = shared / busy;
  overlap.mean = sum / busy;
  overlap.step = {measure::median(lengths)};
  return overlap;
}

}  // namespace rl::experiments
