#include "app/cmd_compare.h"

#include "app/exit_code.h"
#include "app/find_run.h"
#include "report/report.h"

namespace rl::app {

Result<int> cmd_compare(const CompareCommand& command, std::FILE* out) {
  if (command.format != "terminal" && command.format != "md" && command.format != "json")
    return Error{.kind = ErrorKind::usage,
                 .what = "unknown form of the comparison",
                 .rule = "compare.format",
                 .expected = "terminal, md or json",
                 .found = command.format};
  std::vector<std::string> damage;
  RL_ASSIGN(const record::Run baseline, read_checked_run(command.baseline, command.runs_folder, damage));
  RL_ASSIGN(const record::Run candidate, read_checked_run(command.candidate, command.runs_folder, damage));
  RL_ASSIGN(record::RunComparison comparison, lab::compare_runs(baseline, candidate, command.options));
  comparison.invalid.insert(comparison.invalid.end(), damage.begin(), damage.end());
  const std::string text = command.format == "json" ? record::to_json(comparison)
                           : command.format == "md" ? report::comparison_markdown(comparison)
                                                    : report::comparison_terminal(comparison, {.all = command.all});
  fmt::print(out, "{}", text);
  return exit_code(record::judgement_of(comparison));
}

}  // namespace rl::app
