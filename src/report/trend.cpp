// Tables of the history: names of runs, and headlines over runs.

#include "report/quantity.h"
#include "report/report.h"
#include "report/text.h"
#include "report/view.h"

namespace rl::report {
namespace {

constexpr int kWidth = 80;

std::string short_date(std::string_view iso) {
  std::string date = printable(format_timestamp(iso));
  if (date.ends_with(" UTC")) date.resize(date.size() - 4);
  return date;
}

std::string trimmed(std::string line) {
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line + "\n";
}

}  // namespace

std::string baselines(const std::vector<record::Store::Baseline>& baselines) {
  constexpr int kName = 24, kRun = 32;
  std::string text = trimmed(pad("baseline", kName) + "  " + pad("run", kRun) + "  saved (UTC)");
  for (const auto& baseline : baselines)
    text += trimmed(pad(printable(baseline.name), kName) + "  " + pad(printable(baseline.run), kRun) + "  " +
                    short_date(baseline.saved));
  return text;
}

std::string trend(const std::vector<record::Run>& runs) {
  constexpr int kDate = 16, kCommit = 12, kVerdict = 15, kIndent = 2, kGap = 2;
  constexpr int kMeasured = kWidth - kIndent - kDate - kCommit - kVerdict - 3 * kGap;
  const std::string gap(kGap, ' ');
  std::vector<std::string> ids;
  for (const record::Run& run : runs)
    for (const record::Experiment& experiment : run.experiments)
      if (experiment.state != record::State::not_built && std::find(ids.begin(), ids.end(), experiment.id) == ids.end())
        ids.push_back(experiment.id);
  std::string text;
  for (const std::string& id : ids) {
    text += printable(id) + "\n";
    for (const record::Run& run : runs)
      for (const record::Experiment& experiment : run.experiments) {
        if (experiment.id != id || experiment.state == record::State::not_built) continue;
        const Badge badge = badge_of(experiment);
        text += trimmed(std::string(kIndent, ' ') + pad(short_date(run.started), kDate) + gap +
                        pad(printable(run.environment.commit), kCommit) + gap +
                        pad(printable(measured_text(experiment)), kMeasured) + gap +
                        pad(fmt::format("{} {}", tone_sign(badge.tone), badge.word), kVerdict));
      }
  }
  return text.empty() ? "no experiment was measured yet\n" : text;
}

}  // namespace rl::report
