#include "app/cmd_compare.h"

#include "app/exit_code.h"
#include "app/find_run.h"
#include "record/integrity.h"
#include "report/report.h"

namespace rl::app {
namespace {

// The run, and why its files are not what was written; the store checks itself when a run is loaded.
Result<record::Run> intact_run(const std::string& name, const std::string& runs_folder,
                               std::vector<std::string>& damage) {
  RL_ASSIGN(const RunPlace place, locate_run(name, runs_folder));
  RL_ASSIGN(record::Run run, read_run(place, runs_folder));
  if (place.file.empty()) return run;
  for (const record::Finding& finding : record::check_sums(place.folder()))
    if (finding.where == "record.json" || finding.where == record::kSumsFile)
      damage.push_back(fmt::format("{}: {} {}", run.id, finding.where, finding.what));
  return run;
}

}  // namespace

Result<int> cmd_compare(const CompareCommand& command, std::FILE* out) {
  if (command.format != "terminal" && command.format != "md" && command.format != "json")
    return Error{.kind = ErrorKind::usage,
                 .what = "unknown form of the comparison",
                 .rule = "compare.format",
                 .expected = "terminal, md or json",
                 .found = command.format};
  std::vector<std::string> damage;
  RL_ASSIGN(const record::Run baseline, intact_run(command.baseline, command.runs_folder, damage));
  RL_ASSIGN(const record::Run candidate, intact_run(command.candidate, command.runs_folder, damage));
  RL_ASSIGN(record::RunComparison comparison, lab::compare_runs(baseline, candidate, command.options));
  comparison.invalid.insert(comparison.invalid.end(), damage.begin(), damage.end());
  const std::string text = command.format == "json" ? record::to_json(comparison)
                           : command.format == "md" ? report::comparison_markdown(comparison)
                                                    : report::comparison_terminal(comparison, {.all = command.all});
  fmt::print(out, "{}", text);
  return exit_code(record::judgement_of(comparison));
}

}  // namespace rl::app
