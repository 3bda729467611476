#include "record/integrity.h"

#include "base/file.h"
#include "base/sha256.h"

namespace rl::record {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMostBytes = std::int64_t{1} << 30;
constexpr std::array<const char*, 4> kFiles = {"record.json", "report.html", "report.md", "results.csv"};

Result<std::string> line_of(const fs::path& folder, const char* name) {
  RL_ASSIGN(const FileView content, read_file(folder / name, kMostBytes));
  return fmt::format("{}  {}\n", sha256_hex(content.text()), name);
}

// The line that names the file; empty if none does.
std::string line_naming(std::string_view sums, std::string_view name) {
  while (!sums.empty()) {
    const std::size_t end = std::min(sums.find('\n'), sums.size() - 1) + 1;
    const std::string_view line = sums.substr(0, end);
    if (line.ends_with(fmt::format("  {}\n", name))) return std::string(line);
    sums.remove_prefix(end);
  }
  return "";
}

}  // namespace

Status write_sums(const fs::path& folder) {
  std::string text;
  for (const char* name : kFiles) {
    std::error_code ignored;
    if (!fs::exists(folder / name, ignored)) continue;
    RL_ASSIGN(const std::string line, line_of(folder, name));
    text += line;
  }
  return write_file_atomic(folder / kSumsFile, text);
}

std::vector<Finding> check_sums(const fs::path& folder) {
  const auto file = read_file(folder / kSumsFile, kMostBytes);
  if (!file) return {{kSumsFile, "cannot be read: nothing says what the files were when they were written"}};
  const std::string_view sums = file->text();
  std::vector<Finding> findings;
  std::string named;
  for (const char* name : kFiles) {
    const std::string expected = line_naming(sums, name);
    std::error_code ignored;
    const bool there = fs::exists(folder / name, ignored);
    if (expected.empty()) {
      if (there) findings.push_back({kSumsFile, fmt::format("has no sum of {}, which is there", name)});
      continue;
    }
    named += expected;
    const auto line = line_of(folder, name);
    if (!line)
      findings.push_back({name, there ? "cannot be read: " + line.error().found : std::string("is missing")});
    else if (*line != expected)
      findings.push_back({name, fmt::format("was changed: its SHA-256 is {}..., expected {}...", line->substr(0, 12),
                                            expected.substr(0, 12))});
  }
  if (findings.empty() && (named != sums || line_naming(sums, kFiles[0]).empty()))
    findings.push_back({kSumsFile, "was changed: it is not what Redline writes for these files"});
  return findings;
}

}  // namespace rl::record
