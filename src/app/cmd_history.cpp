#include "app/cmd_history.h"

#include "app/find_run.h"
#include "record/store.h"
#include "report/report.h"

namespace rl::app {

Status cmd_history(const HistoryOptions& options, std::FILE* out) {
  std::vector<record::Store::Entry> runs;
  if (has_store(options.runs_folder)) {
    RL_ASSIGN(const record::Store store, record::Store::open(options.runs_folder));
    RL_ASSIGN(runs, store.list());
  }
  const std::string text = runs.empty()
                               ? fmt::format("no runs in '{}' yet: make one with 'redline run'\n", options.runs_folder)
                               : report::history(runs);
  if (std::fwrite(text.data(), 1, text.size(), out) != text.size() || std::fflush(out) != 0)
    return Error{
        .kind = ErrorKind::io, .what = "cannot write the list of runs", .rule = "history.write", .native_code = errno};
  return ok();
}

}  // namespace rl::app
