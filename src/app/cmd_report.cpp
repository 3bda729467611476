#include "app/cmd_report.h"

#include <filesystem>

#include "app/find_run.h"
#include "record/json.h"
#include "report/report.h"

namespace rl::app {
namespace {

namespace fs = std::filesystem;

struct Found {
  record::Run run;
  fs::path folder;  // of its files; empty if only the store knows it
};

Result<std::string> render(const Found& found, const ReportOptions& options) {
  if (options.format == "md") return report::markdown(found.run);
  if (options.format == "html") return report::html(found.run);
  if (options.format == "csv") return report::csv(found.run);
  if (options.format == "json") return record::to_json(found.run) + "\n";
  std::error_code ignored;
  const bool drawn = fs::exists(found.folder / "report.html", ignored);
  return report::terminal(
      found.run, {.width = options.width, .color = options.color, .folder = drawn ? found.folder.string() : ""});
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
  RL_ASSIGN(const RunPlace place, locate_run(options.run, options.runs_folder));
  RL_ASSIGN(record::Run run, read_run(place, options.runs_folder));
  Found found{std::move(run), place.folder()};
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
