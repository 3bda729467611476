// The file: a line of heading with the identity, a line per shape ("shape, variant, seconds, variant, seconds, ...",
// tabs between them), and a last line with their number, so that a part of a file shows.

#include "ops/choices.h"

#include <charconv>

#include "base/file.h"
#include "base/log.h"

namespace rl::ops {
namespace {

constexpr std::string_view kHeading = "redline variants 1";
constexpr std::string_view kEnd = "end";
constexpr std::int64_t kMostBytes = 16 << 20;

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (std::size_t start = 0;;) {
    const std::size_t end = std::min(text.find(separator, start), text.size());
    parts.push_back(text.substr(start, end - start));
    if (end == text.size()) return parts;
    start = end + 1;
  }
}

std::optional<double> number(std::string_view text) {
  double value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// A line of the file; null if it is not one.
std::optional<std::pair<std::string, Choice>> parse(std::string_view line) {
  const std::vector<std::string_view> parts = split(line, '\t');
  if (parts.size() < 3 || parts.size() % 2 == 0 || parts[0].empty()) return std::nullopt;
  Choice choice;
  for (std::size_t i = 1; i < parts.size(); i += 2) {
    const std::optional<double> seconds = number(parts[i + 1]);
    if (parts[i].empty() || !seconds || !(*seconds > 0 && std::isfinite(*seconds))) return std::nullopt;
    choice.timed.push_back({.variant = std::string(parts[i]), .seconds = {*seconds}});
  }
  return std::pair{std::string(parts[0]), std::move(choice)};
}

}  // namespace

Choices::Choices(std::filesystem::path file, std::string identity, bool retune)
    : file_(std::move(file)), identity_(std::move(identity)) {
  std::error_code code;
  if (!retune && !file_.empty() && std::filesystem::exists(file_, code)) load();
}

void Choices::load() {
  const auto ignored = [&](std::string_view why) {
    log::warning("measured variants in {} are ignored: {}; they will be measured again", file_.string(), why);
  };
  const auto view = read_file(file_, kMostBytes);
  if (!view) return ignored(view.error().what);
  std::vector<std::string_view> lines = split(view->text(), '\n');
  if (!lines.empty() && lines.back().empty()) lines.pop_back();
  if (lines.size() < 2 || !lines.front().starts_with(fmt::format("{}\t", kHeading)))
    return ignored("this is no file of them");
  if (lines.front().substr(kHeading.size() + 1) != identity_)
    return ignored("they are of another device, driver or build");
  if (lines.back() != fmt::format("{}\t{}", kEnd, lines.size() - 2)) return ignored("the file is not whole");
  std::map<std::string, Choice> found;
  for (std::size_t i = 1; i + 1 < lines.size(); ++i) {
    auto entry = parse(lines[i]);
    if (!entry) return ignored(fmt::format("line {} is damaged", i + 1));
    found.insert(std::move(*entry));
  }
  by_shape_ = std::move(found);
}

std::optional<Choice> Choices::find(const std::string& shape) const {
  const std::lock_guard lock(mutex_);
  const auto found = by_shape_.find(shape);
  if (found == by_shape_.end()) return std::nullopt;
  return found->second;
}

void Choices::insert(const std::string& shape, Choice choice) {
  RL_CHECK(!choice.timed.empty());
  const std::lock_guard lock(mutex_);
  by_shape_[shape] = std::move(choice);
  changed_ = true;
}

Status Choices::save() {
  const std::lock_guard lock(mutex_);
  if (!changed_ || file_.empty()) return ok();
  std::string text = fmt::format("{}\t{}\n", kHeading, identity_);
  for (const auto& [shape, choice] : by_shape_) {
    text += shape;
    for (const Choice::Timed& timed : choice.timed) text += fmt::format("\t{}\t{}", timed.variant, timed.seconds.count);
    text += '\n';
  }
  text += fmt::format("{}\t{}\n", kEnd, by_shape_.size());
  std::error_code code;
  std::filesystem::create_directories(file_.parent_path(), code);
  RL_TRY(write_file_atomic(file_, text));
  changed_ = false;
  return ok();
}

}  // namespace rl::ops
