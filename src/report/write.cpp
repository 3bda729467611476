#include "base/file.h"
#include "record/integrity.h"
#include "record/write_run.h"
#include "report/report.h"

namespace rl::report {

Status write_views(const record::Run& run, const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    return Error{.kind = ErrorKind::io,
                 .what = "cannot make the report's folder: " + error.message(),
                 .rule = "report.folder",
                 .file = folder.string(),
                 .hint = "choose another folder with --out",
                 .native_code = error.value()};
  RL_TRY(write_file_atomic(folder / "results.csv", csv(run)));
  RL_TRY(write_file_atomic(folder / "report.md", markdown(run)));
  return write_file_atomic(folder / "report.html", html(run));
}

Status write_all(const record::Run& run, const std::filesystem::path& folder) {
  RL_TRY(record::write_run_folder(run, folder));
  RL_TRY(write_views(run, folder));
  return record::write_sums(folder);  // last: a folder without it was not finished
}

}  // namespace rl::report
