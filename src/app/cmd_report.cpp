#include "app/cmd_report.h"

#include <filesystem>

#include "base/file.h"
#include "record/json.h"
#include "record/store.h"
#include "report/report.h"

namespace rl::app {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDatabase = "redline.db";
constexpr std::int64_t kMaxRecordBytes = std::int64_t{1} << 30;

struct Found {
  record::Run run;
  fs::path folder;  // of its files; empty if only the store knows it
};

Result<Found> read_record(const fs::path& file) {
  RL_ASSIGN(const FileView content, read_file(file, kMaxRecordBytes));
  RL_ASSIGN(record::Run run, record::from_json(content.text(), file.string()));
  return Found{std::move(run), file.parent_path()};
}

Error no_run(const std::string& name, const std::string& runs_folder, const std::vector<record::Store::Entry>& known) {
  std::string ids;
  for (std::size_t i = 0; i < std::min<std::size_t>(3, known.size()); ++i) ids += (i > 0 ? ", " : "") + known[i].id;
  return {.kind = ErrorKind::invalid_input,
          .what = known.empty() ? fmt::format("there is no run in '{}'", runs_folder)
                                : fmt::format("there is no run '{}'", name),
          .rule = "report.run",
          .expected = "a run's folder, a record.json, an id or 'latest'",
          .found = name,
          .hint = known.empty() ? "make one with 'redline run', or name the folder of runs with --runs"
                                : fmt::format("the newest are {}; 'redline history' lists all", ids)};
}

// A file or folder of that name goes first, then the store's ids.
Result<Found> find_run(const ReportOptions& options) {
  std::error_code ignored;
  const bool latest = options.run.empty() || options.run == "latest";
  if (!latest) {
    const fs::path path(options.run);
    if (fs::is_regular_file(path, ignored)) return read_record(path);
    for (const fs::path& folder : {path, fs::path(options.runs_folder) / path})
      if (fs::is_regular_file(folder / "record.json", ignored)) return read_record(folder / "record.json");
  }
  // Opening a store creates it: looking for a run must not.
  if (!fs::exists(fs::path(options.runs_folder) / kDatabase, ignored))
    return no_run(options.run, options.runs_folder, {});
  RL_ASSIGN(const record::Store store, record::Store::open(options.runs_folder));
  RL_ASSIGN(const std::vector<record::Store::Entry> known, store.list());
  for (const record::Store::Entry& entry : known) {
    if (!latest && entry.id != options.run) continue;
    const fs::path folder = fs::path(options.runs_folder) / entry.id;
    if (fs::is_regular_file(folder / "record.json", ignored)) return read_record(folder / "record.json");
    RL_ASSIGN(record::Run run, store.load(entry.id));
    return Found{std::move(run), {}};
  }
  return no_run(options.run, options.runs_folder, known);
}

Result<std::string> render(const Found& found, const ReportOptions& options) {
  if (options.format == "md") return report::markdown(found.run);
  if (options.format == "html") return report::html(found.run);
  if (options.format == "csv") return report::csv(found.run);
  if (options.format == "json") return record::to_json(found.run) + "\n";
  std::error_code ignored;
  const bool drawn = fs::exists(found.folder / "report.html", ignored);
  return report::terminal(found.run, {.color = options.color, .folder = drawn ? found.folder.string() : ""});
}

}  // namespace

Status cmd_report(const ReportOptions& options, std::FILE* out) {
  constexpr std::array<std::string_view, 5> formats = {"terminal", "md", "html", "csv", "json"};
  if (std::find(formats.begin(), formats.end(), options.format) == formats.end())
    return Error{.kind = ErrorKind::usage,
                 .what = "unknown form of the report",
                 .rule = "report.format",
                 .expected = "terminal, md, html, csv or json",
                 .found = options.format};
  RL_ASSIGN(Found found, find_run(options));
  if (!options.out.empty()) {
    RL_TRY(report::write_all(found.run, options.out));
    found.folder = options.out;
  }
  RL_ASSIGN(const std::string text, render(found, options));
  if (std::fwrite(text.data(), 1, text.size(), out) != text.size() || std::fflush(out) != 0)
    return Error{
        .kind = ErrorKind::io, .what = "cannot write the report", .rule = "report.write", .native_code = errno};
  return ok();
}

}  // namespace rl::app
