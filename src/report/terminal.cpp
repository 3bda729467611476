#include <numeric>

#include "report/quantity.h"
#include "report/report.h"
#include "report/text.h"
#include "report/view.h"

namespace rl::report {
namespace {

using namespace record;

// Why the first invalid row is: the others mostly share it.
std::string first_reason(const Experiment& experiment) {
  for (const Row& row : experiment.rows)
    if (!row.validity.valid && !row.validity.reasons.empty()) return row.validity.reasons.front();
  return "it says no reason";
}

// Colours of the terminal's own palette, so that they suit its background.
const char* color_of(Tone tone) {
  switch (tone) {
    case Tone::good:
      return "32";
    case Tone::better:
      return "36";
    case Tone::bad:
      return "31";
    case Tone::unsure:
      return "33";
    case Tone::broken:
      return "35";
    case Tone::plain:
      return "1";
    case Tone::absent:
      return "2";
  }
  return "0";
}

class Screen {
 public:
  Screen(int width, bool color) : width_(width), color_(color) {}

  // Styled after its width is settled: escapes take no column.
  std::string styled(std::string text, const char* code) const {
    return color_ ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : text;
  }
  void line(std::string text) {
    while (!text.empty() && text.back() == ' ') text.pop_back();
    out_ += text + "\n";
  }
  void rule() { line(styled(repeat("─", width_), "2")); }

  // "label  text", the text wrapped under itself.
  void field(std::string_view label, int label_width, std::string_view text, const char* label_code = "2") {
    bool first = true;
    for (const std::string& part : wrap(printable(text), width_ - label_width)) {
      line((first ? styled(pad(label, label_width), label_code)
                  : std::string(static_cast<std::size_t>(label_width), ' ')) +
           part);
      first = false;
    }
  }
  int width() const { return width_; }
  std::string take() { return std::move(out_); }

 private:
  static std::string repeat(std::string_view text, int count) {
    std::string out;
    for (int i = 0; i < count; ++i) out += text;
    return out;
  }
  int width_;
  bool color_;
  std::string out_;
};

std::string machine_line(const Environment& environment) {
  std::vector<std::string> parts;
  if (!environment.gpu.empty()) parts.push_back(environment.gpu);
  if (!environment.cpu.empty()) parts.push_back(environment.cpu);
  if (environment.cores > 0)
    parts.push_back(fmt::format("{} core{}", environment.cores, environment.cores == 1 ? "" : "s"));
  if (environment.memory_bytes > 0) parts.push_back(format_value(static_cast<double>(environment.memory_bytes), "B"));
  return parts.empty() ? "not recorded" : joined(parts, ", ");
}

std::string model_line(const ModelInfo& model) {
  std::vector<std::string> parts{model.name.empty() ? "not recorded" : model.name};
  if (!model.family.empty()) parts.push_back(model.family);
  if (model.parameters > 0) parts.push_back(format_count(model.parameters) + " parameters");
  if (!model.computed_as.empty()) parts.push_back("computed as " + model.computed_as);
  return joined(parts, ", ");
}

std::string mode_line(const Run& run) {
  std::vector<std::string> parts;
  if (!run.mode.empty()) parts.push_back(run.mode);
  parts.push_back(fmt::format("seed {}", run.seed));
  if (run.elapsed_seconds > 0) parts.push_back(format_duration(run.elapsed_seconds));
  if (run.finished.empty()) parts.push_back("not finished");
  return joined(parts, ", ");
}

void header(Screen& screen, const Run& run) {
  const std::string name = fmt::format("Redline {}", printable(run.environment.version));
  const std::string when = printable(format_timestamp(run.started));
  const int left = std::max(10, screen.width() - display_width(when) - 2);
  screen.line(screen.styled(pad(name, left), "1") + "  " + truncate(when, screen.width() - left - 2));
  screen.line("");
  constexpr int kLabel = 10;
  screen.field("run", kLabel, run.id);
  screen.field("machine", kLabel, machine_line(run.environment));
  screen.field("model", kLabel, model_line(run.model));
  screen.field("mode", kLabel, mode_line(run));
  std::string build = run.environment.commit.empty() ? "not recorded" : run.environment.commit;
  if (!run.environment.build.empty()) build += ", " + run.environment.build;
  screen.field("commit", kLabel, build);
  if (!run.validity.valid) screen.field("INVALID", kLabel, joined(run.validity.reasons, "; "), "35");
  if (!run.validity.warnings.empty()) screen.field("note", kLabel, joined(run.validity.warnings, "; "), "33");
  screen.line("");
}

// The natural widths, until together they fit in `room`: the widest gives way first.
template <std::size_t N>
std::array<int, N> shrink(std::array<int, N> widths, int room) {
  while (std::accumulate(widths.begin(), widths.end(), 0) > room) --*std::max_element(widths.begin(), widths.end());
  return widths;
}

struct Columns {
  int name, expected, measured, verdict;
};

// The verdict never gives way.
Columns columns_of(const Run& run, int width) {
  constexpr int kGaps = 6;
  std::array<int, 3> want{10, 8, 8};
  int verdict = 7;
  for (const Experiment& experiment : run.experiments) {
    want[0] = std::max(want[0], display_width(printable(experiment.id)));
    want[1] = std::max(want[1], display_width(printable(expected_text(experiment))));
    want[2] = std::max(want[2], display_width(printable(measured_text(experiment))));
    verdict = std::max(verdict, 2 + display_width(badge_of(experiment).word));
  }
  want = shrink(want, width - verdict - kGaps);
  return {want[0], want[1], want[2], verdict};
}

void table(Screen& screen, const Run& run) {
  const Columns columns = columns_of(run, screen.width());
  screen.line(
      screen.styled(fmt::format("{}  {}  {}  {}", pad("experiment", columns.name), pad("expected", columns.expected),
                                pad("measured", columns.measured), "verdict"),
                    "1"));
  screen.rule();
  for (const Experiment& experiment : run.experiments) {
    const Badge badge = badge_of(experiment);
    const std::string cells = fmt::format("{}  {}  {}", pad(printable(experiment.id), columns.name),
                                          pad(printable(expected_text(experiment)), columns.expected),
                                          pad(printable(measured_text(experiment)), columns.measured));
    screen.line((badge.tone == Tone::absent ? screen.styled(cells, "2") : cells) + "  " +
                screen.styled(fmt::format("{} {}", tone_sign(badge.tone), badge.word), color_of(badge.tone)));
  }
  if (run.experiments.empty()) screen.line("This run has no experiments.");
  screen.rule();
  std::string counts;
  for (const Tally& entry : tally(run))
    counts += fmt::format("{}{} {}", counts.empty() ? "" : ", ", entry.count, entry.badge.word);
  if (!counts.empty()) screen.field("", 0, counts);
}

int invalid_rows(const Experiment& experiment) {
  return static_cast<int>(std::count_if(experiment.rows.begin(), experiment.rows.end(),
                                        [](const Row& row) { return !row.validity.valid; }));
}

// What each experiment means and what to do about it; why one did not run and what would make it run.
void explain(Screen& screen, const Run& run) {
  constexpr int kIndent = 2, kMark = 4;
  for (const Experiment& experiment : run.experiments) {
    if (experiment.state == State::not_built) continue;
    screen.line("");
    screen.line(screen.styled(truncate(printable(experiment.id), screen.width()), "1"));
    const auto say = [&](std::string_view mark, std::string_view text) {
      bool first = true;
      for (const std::string& part : wrap(printable(text), screen.width() - kMark)) {
        screen.line(std::string(kIndent, ' ') + (first ? std::string(mark) : std::string(" ")) + " " + part);
        first = false;
      }
    };
    if (!experiment.reasons.empty())
      say(" ", fmt::format("{}: {}.", badge_of(experiment).word, joined(experiment.reasons, "; ")));
    say(" ", experiment.meaning);
    if (const int bad = invalid_rows(experiment); bad > 0)
      say("!", fmt::format("{} of {} rows invalid: their numbers are shown, and used for nothing. The first: {}.", bad,
                           experiment.rows.size(), first_reason(experiment)));
    say("→", experiment.advice);
    say("→", experiment.remedy);
  }
}

}  // namespace

std::string terminal(const Run& run, const TerminalOptions& options) {
  Screen screen(std::max(40, options.width), options.color);
  header(screen, run);
  table(screen, run);
  explain(screen, run);
  if (!options.folder.empty()) {
    screen.line("");
    screen.field("report", 10, options.folder + "/report.html");
    screen.field("also", 10, "report.md, results.csv, record.json");
  }
  return screen.take();
}

std::string history(const std::vector<Store::Entry>& runs) {
  constexpr int kWidth = 80, kGap = 2, kMostId = 32, kMostDate = 16, kMostDone = 15;
  constexpr std::size_t kColumns = 5;
  using Cells = std::array<std::string, kColumns>;
  std::vector<Cells> lines{{"run", "date (UTC)", "model", "device", "done"}};
  for (const Store::Entry& run : runs) {
    std::string date = format_timestamp(run.started);
    if (date.ends_with(" UTC")) date.resize(date.size() - 4);
    lines.push_back({printable(run.id), printable(date), printable(run.model), printable(run.device),
                     fmt::format("{}{}", run.experiments, run.finished ? "" : ", unfinished")});
  }
  std::array<int, kColumns> widths{};
  for (const Cells& cells : lines)
    for (std::size_t i = 0; i < kColumns; ++i) widths[i] = std::max(widths[i], display_width(cells[i]));
  // The id is what one types: model and device give way to it.
  widths[0] = std::min(widths[0], kMostId);
  widths[1] = std::min(widths[1], kMostDate);
  widths[4] = std::min(widths[4], kMostDone);
  const int room = kWidth - widths[0] - widths[1] - widths[4] - kGap * static_cast<int>(kColumns - 1);
  const auto [model, device] = shrink(std::array<int, 2>{widths[2], widths[3]}, room);
  widths[2] = model;
  widths[3] = device;
  Screen screen(kWidth, false);
  for (std::size_t l = 0; l < lines.size(); ++l) {
    std::string text;
    for (std::size_t i = 0; i < kColumns; ++i) text += (i > 0 ? "  " : "") + pad(lines[l][i], widths[i]);
    screen.line(text);
    if (l == 0) screen.rule();
  }
  return screen.take();
}

}  // namespace rl::report
