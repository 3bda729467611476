#include "app/cmd_history.h"

#include "app/find_run.h"
#include "record/store.h"
#include "report/report.h"

namespace rl::app {
namespace {

constexpr std::size_t kTrendRuns = 12;

Result<std::string> trend(const record::Store& store, const std::vector<record::Store::Entry>& entries) {
  std::vector<record::Run> runs;
  for (const record::Store::Entry& entry : entries) {
    if (runs.size() == kTrendRuns) break;
    // A run that another version wrote, or that is damaged, has no headlines to show: history lists it.
    if (auto run = store.load(entry.id)) runs.push_back(std::move(*run));
  }
  return report::trend(runs);
}

Result<std::string> text_of(const HistoryOptions& options) {
  const std::string none = fmt::format("no runs in '{}' yet: make one with 'redline run'\n", options.runs_folder);
  // Opening a store creates it: listing must not.
  if (!has_store(options.runs_folder) && options.drop_baseline.empty()) return none;
  RL_ASSIGN(record::Store store, record::Store::open(options.runs_folder));
  if (!options.drop_baseline.empty()) {
    RL_ASSIGN(const bool known, store.drop_baseline(options.drop_baseline));
    if (known) return fmt::format("forgot the baseline '{}'; its run is still there\n", options.drop_baseline);
    return Error{.kind = ErrorKind::invalid_input,
                 .what = "there is no baseline of that name",
                 .rule = "history.baseline",
                 .found = options.drop_baseline,
                 .hint = "redline history --baselines lists them"};
  }
  if (options.baselines) {
    RL_ASSIGN(const auto baselines, store.baselines());
    return baselines.empty() ? "no baselines yet: name a run with 'redline run --save-baseline NAME'\n"
                             : report::baselines(baselines);
  }
  RL_ASSIGN(const auto entries, store.list());
  if (entries.empty()) return none;
  if (options.trend) return trend(store, entries);
  return report::history(entries);
}

}  // namespace

Status cmd_history(const HistoryOptions& options, std::FILE* out) {
  RL_ASSIGN(const std::string text, text_of(options));
  if (std::fwrite(text.data(), 1, text.size(), out) != text.size() || std::fflush(out) != 0)
    return Error{
        .kind = ErrorKind::io, .what = "cannot write the history", .rule = "history.write", .native_code = errno};
  return ok();
}

}  // namespace rl::app
