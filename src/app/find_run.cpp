#include "app/find_run.h"

#include <charconv>

#include "base/file.h"
#include "record/integrity.h"
#include "record/json.h"
#include "record/store.h"

namespace rl::app {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMaxRecordBytes = std::int64_t{1} << 30;

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

Error no_run(const std::string& name, const std::string& runs_folder, const std::vector<record::Store::Entry>& known) {
  std::string ids;
  for (std::size_t i = 0; i < std::min<std::size_t>(3, known.size()); ++i) ids += (i > 0 ? ", " : "") + known[i].id;
  return {.kind = ErrorKind::invalid_input,
          .what = known.empty() ? fmt::format("there is no run in '{}'", runs_folder)
                                : fmt::format("there is no run '{}'", name),
          .rule = "run.name",
          .expected = "a run's folder, a record.json, an id, a baseline's name, 'last' or 'last~1'",
          .found = name,
          .hint = known.empty() ? "make one with 'redline run', or name the folder of runs with --runs"
                                : fmt::format("the newest are {}; 'redline history' lists all", ids)};
}

// "last", "latest", "": 0; "last~2": 2; nothing for other names.
std::optional<std::size_t> steps_back(std::string_view name) {
  if (name.empty() || name == "last" || name == "latest") return 0;
  if (!name.starts_with("last~")) return std::nullopt;
  name.remove_prefix(5);
  std::size_t steps = 0;
  const auto [end, code] = std::from_chars(name.data(), name.data() + name.size(), steps);
  return code == std::errc() && end == name.data() + name.size() ? std::optional(steps) : std::nullopt;
}

}  // namespace

bool has_store(const fs::path& runs_folder) {
  std::error_code ignored;
  return fs::exists(runs_folder / "redline.db", ignored);
}

Result<RunPlace> locate_run(const std::string& name, const std::string& runs_folder) {
  const fs::path runs(runs_folder);
  const std::optional<std::size_t> back = steps_back(name);
  if (!back) {
    const fs::path path(name);
    if (is_file(path)) return RunPlace{.file = path};
    if (is_file(path / "record.json")) return RunPlace{.file = path / "record.json"};
  }
  std::vector<record::Store::Entry> known;
  if (has_store(runs)) {
    RL_ASSIGN(const record::Store store, record::Store::open(runs));
    RL_ASSIGN(known, store.list());
    std::string id = name;
    if (back && *back < known.size()) id = known[*back].id;
    RL_ASSIGN(const auto baselines, store.baselines());
    for (const auto& baseline : baselines)
      if (!back && baseline.name == name) id = baseline.run;
    for (const record::Store::Entry& entry : known) {
      if (entry.id != id) continue;
      const fs::path file = runs / id / "record.json";
      return RunPlace{.file = is_file(file) ? file : fs::path(), .id = id};
    }
  }
  if (!back && is_file(runs / name / "record.json")) return RunPlace{.file = runs / name / "record.json"};
  return no_run(name, runs_folder, known);
}

Result<record::Run> read_run(const RunPlace& place, const std::string& runs_folder) {
  if (place.file.empty()) {
    RL_ASSIGN(const record::Store store, record::Store::open(runs_folder));
    return store.load(place.id);
  }
  RL_ASSIGN(const FileView content, read_file(place.file, kMaxRecordBytes));
  return record::from_json(content.text(), place.file.string());
}

Result<record::Run> read_checked_run(const std::string& name, const std::string& runs_folder,
                                     std::vector<std::string>& damage) {
  RL_ASSIGN(const RunPlace place, locate_run(name, runs_folder));
  RL_ASSIGN(record::Run run, read_run(place, runs_folder));
  if (place.file.empty()) return run;
  for (const record::Finding& finding : record::check_sums(place.folder()))
    if (finding.where == "record.json" || finding.where == record::kSumsFile)
      damage.push_back(fmt::format("{}: {} {}", run.id, finding.where, finding.what));
  return run;
}

}  // namespace rl::app
