#include "record/write_run.h"

#include "base/file.h"
#include "record/json.h"

namespace rl::record {

Status write_run_folder(const Run& run, const std::filesystem::path& folder) {
  std::error_code code;
  std::filesystem::create_directories(folder, code);
  if (code)
    return Error{.kind = ErrorKind::io,
                 .what = "cannot create the run's folder",
                 .file = folder.string(),
                 .found = code.message(),
                 .native_code = code.value()};
  return write_file_atomic(folder / "record.json", to_json(run));
}

}  // namespace rl::record
