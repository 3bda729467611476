#include "app/cmd_run.h"

#include <filesystem>
#include <optional>

#include <unistd.h>

#include "app/console.h"
#include "app/exit_code.h"
#include "app/find_run.h"
#include "app/open_model.h"
#include "app/run_session.h"
#include "base/clock.h"
#include "experiments/list.h"
#include "lab/compare_runs.h"
#include "lab/runner.h"
#include "record/integrity.h"
#include "record/json.h"
#include "report/quantity.h"
#include "report/report.h"
#include "telemetry/host.h"

namespace rl::app {
namespace {

namespace fs = std::filesystem;

// "attention   12 s of about 25 s   seq 1024, causal no (6 of 8)": one line, rewritten on a terminal.
class ProgressLine {
 public:
  ProgressLine(const lab::Info& info, const lab::Context& context)
      : name_(info.id),
        expected_(lab::expected_time(info, context)),
        start_(monotonic_now()),
        columns_(columns_of(STDERR_FILENO)) {
    show("");
  }
  void show(const std::string& what) {
    const std::string line = fmt::format("{:<14} {:>4.0f} s of about {:.0f} s   {}", name_,
                                         (monotonic_now() - start_).count, expected_.count, what);
    // One that is as wide as the terminal would wrap, and leave a line behind each time.
    if (columns_ > 0) say("\r\033[K{}", line.substr(0, static_cast<std::size_t>(columns_) - 1));
  }
  void finish(const record::Experiment& record) {
    const std::string line =
        fmt::format("{:<14} {:>4.0f} s   {}{}", name_, (monotonic_now() - start_).count, name_of(record.state),
                    record.reasons.empty() ? "" : ": " + record.reasons.front());
    say("{}{}\n", columns_ > 0 ? "\r\033[K" : "", line);
  }

 private:
  std::string name_;
  Seconds expected_, start_;
  int columns_;  // of the terminal; 0: none, and only the last line is printed
};

Result<std::vector<const lab::Entry*>> chosen_entries(const RunOptions& options) {
  std::vector<const lab::Entry*> entries;
  if (options.only.empty())
    for (const lab::Entry& entry : experiments::all()) entries.push_back(&entry);
  for (const std::string& id : options.only) {
    const lab::Entry* entry = experiments::find(id);
    if (entry == nullptr) {
      std::string names;
      for (const lab::Entry& known : experiments::all()) names += (names.empty() ? "" : ", ") + known.info.id;
      return Error{.kind = ErrorKind::usage, .what = "no experiment named '" + id + "'", .expected = names};
    }
    entries.push_back(entry);
  }
  return entries;
}

// The axes that an experiment has.
lab::AxisOverrides axes_of(const lab::Info& info, const lab::AxisOverrides& given) {
  lab::AxisOverrides axes;
  for (const lab::Axis& axis : info.axes)
    if (const auto at = given.find(axis.name); at != given.end()) axes.insert(*at);
  return axes;
}

// What the expected times were measured with.
const char* timed_on(const lab::Context& context) {
  return context.on_gpu() && context.full() ? "as estimated for an 8B shape on an H200; a smaller model takes less"
                                            : "as measured with the demo model on 2 cores; a larger model takes longer";
}

Status print_list(const std::vector<const lab::Entry*>& entries, lab::Context& context, const RunOptions& options,
                  std::FILE* out) {
  Seconds all;
  for (const lab::Entry* entry : entries) {
    fmt::print(out, "{:<14} {:<17} {}\n", entry->info.id, entry->make ? "plan " + entry->info.plan : "not built yet",
               entry->info.question);
    if (!options.dry_run || !entry->make) continue;
    context.axes = axes_of(entry->info, options.axes);
    const auto experiment = entry->make();
    if (const Status can = experiment->available(context); !can) {
      fmt::print(out, "{:<14}   would be skipped: {}\n", "", can.error().what);
      continue;
    }
    RL_ASSIGN(const std::vector<lab::Point> points, lab::points_of(*experiment, context));
    fmt::print(out, "{:<14}   {} points, about {}\n", "", points.size(),
               report::format_duration(lab::expected_time(entry->info, context).count));
    for (const lab::Point& point : points) fmt::print(out, "{:<14}   {}\n", "", point.label());
    all += lab::expected_time(entry->info, context);
  }
  if (options.dry_run) fmt::print(out, "in all about {}: {}\n", report::format_duration(all.count), timed_on(context));
  return ok();
}

// A name that is no other way to name a run.
Status check_baseline_name(const std::string& name) {
  const auto plain = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.';
  };
  if (name.empty()) return ok();
  if (std::all_of(name.begin(), name.end(), plain) && name != "last" && name != "latest" && name.front() != '.' &&
      name.front() != '-')
    return ok();
  return Error{.kind = ErrorKind::usage,
               .what = "not a name for a baseline",
               .rule = "run.baseline_name",
               .expected = "letters, digits, '-', '_' and '.', but not 'last' or 'latest'",
               .found = name};
}

record::ModelInfo model_info(const model::ModelSource& source) {
  record::ModelInfo info{.name = telemetry::scrub(source.name),
                         .family = model::name_of(source.config.family),
                         .fingerprint = source.fingerprint,
                         .parameters = source.config.parameters(),
                         .stored_as = source.stored_as,
                         .computed_as = "bf16"};
  if (source.files)
    if (const auto tokenizer = model::Tokenizer::load(*source.files))
      info.tokenizer_fingerprint = tokenizer->fingerprint();
  return info;
}

Status check_axes(const std::vector<const lab::Entry*>& entries, const lab::AxisOverrides& given) {
  for (const auto& [name, values] : given) {
    const auto has = [&](const lab::Entry* entry) { return !axes_of(entry->info, {{name, values}}).empty(); };
    if (std::any_of(entries.begin(), entries.end(), has)) continue;
    std::string known;
    for (const lab::Entry* entry : entries)
      for (const lab::Axis& axis : entry->info.axes)
        if (known.find("--" + axis.name + " ") == known.npos) known += "--" + axis.name + " ";
    return Error{.kind = ErrorKind::usage,
                 .what = "no chosen experiment has an axis of that name",
                 .rule = "run.axis",
                 .expected = known.empty() ? "no axis" : known.substr(0, known.size() - 1),
                 .found = "--" + name};
  }
  return ok();
}

// Before anything is measured: an experiment may have other values on another device.
Status check_values(const std::vector<const lab::Entry*>& entries, const lab::AxisOverrides& given,
                    lab::Context& context) {
  for (const lab::Entry* entry : entries) {
    if (!entry->make) continue;
    context.axes = axes_of(entry->info, given);
    RL_TRY(lab::points_of(*entry->make(), context));
  }
  return ok();
}

record::Run new_run(const RunOptions& options, const model::ModelSource& source,
                    const std::vector<const lab::Entry*>& entries, bool full) {
  record::Run run;
  run.command = telemetry::scrub(options.command);
  run.mode = !options.axes.empty() ? "custom" : full ? "full" : "quick";
  run.started = utc_timestamp();
  run.id = run.started.substr(0, 4) + run.started.substr(5, 2) + run.started.substr(8, 2) + "-" +
           run.started.substr(11, 2) + run.started.substr(14, 2) + run.started.substr(17, 2) + "-" + run.mode;
  run.seed = options.seed;
  std::vector<std::string> ids;
  for (const lab::Entry* entry : entries) ids.push_back(entry->info.id);
  run.settings = settings_of(options, ids, full);
  run.environment = telemetry::capture_environment();
  run.environment.backends = backend_names();
  run.model = model_info(source);
  return run;
}

// Measures what is not in the run yet. Each experiment is in the store before its line says that it is done.
Status measure_all(const std::vector<const lab::Entry*>& entries, const RunOptions& options, lab::Context& context,
                   RunSession& session, record::Run& run) {
  const double before = run.elapsed_seconds;
  Seconds expected;
  for (const lab::Entry* entry : entries)
    if (entry->make && entry->make()->available(context)) expected += lab::expected_time(entry->info, context);
  say("about {} ({})\n", report::format_duration(expected.count), timed_on(context));
  const Seconds start = monotonic_now();
  for (const lab::Entry* entry : entries) {
    const auto has = [&](const record::Experiment& done) { return done.id == entry->info.id; };
    if (std::any_of(run.experiments.begin(), run.experiments.end(), has)) continue;
    context.axes = axes_of(entry->info, options.axes);
    std::optional<ProgressLine> line;
    if (entry->make) line.emplace(entry->info, context);
    context.progress = [&](const std::string& what, int done, int all) {
      if (line) line->show(fmt::format("{} ({} of {})", what, done + 1, all));
    };
    RL_ASSIGN(record::Experiment done, lab::run_experiment(*entry, context));
    run.experiments.push_back(std::move(done));
    run.elapsed_seconds = before + (monotonic_now() - start).count;
    RL_TRY(session.store().append(run, run.experiments.back()));
    if (line) line->finish(run.experiments.back());
  }
  return ok();
}

// A word of a command, for a shell.
std::string shell_word(std::string_view word) {
  const bool plain = !word.empty() && word.find_first_of(" \t\n\"'\\$&|;<>()*?[]{}`!#~") == word.npos;
  return plain ? std::string(word) : fmt::format("'{}'", word);
}

std::string way_to_go_on(const RunOptions& options, const std::string& id) {
  std::string command = "redline run --resume";
  if (options.out.empty()) command += " " + id;
  if (!options.model.empty()) command += " -m " + shell_word(options.model);
  if (!options.out.empty())
    command += " --out " + shell_word(options.out);
  else if (options.runs_folder != RunOptions{}.runs_folder)
    command += " --runs " + shell_word(options.runs_folder);
  return command;
}

// The run's end, from what its experiments say. Once only: a run killed after this is finished in the store.
void finish(record::Run& run) {
  run.finished = utc_timestamp();
  run.environment.load_after = telemetry::load_average();
  for (const record::Experiment& experiment : run.experiments) {
    using record::State;
    if (experiment.state != State::failed && experiment.state != State::invalid) continue;
    run.validity.valid = false;
    run.validity.reasons.push_back(fmt::format(
        "{}: {}", experiment.id, experiment.reasons.empty() ? name_of(experiment.state) : experiment.reasons.front()));
  }
  if (run.environment.load_before > 0.5 * run.environment.cores)
    run.validity.warnings.push_back(
        fmt::format("the machine was busy when the run began (load {:.1f} on {} cores): expect wide intervals",
                    run.environment.load_before, run.environment.cores));
}

}  // namespace

std::string command_text(int argc, const char* const* argv) {
  std::string command;
  for (int i = 0; i < argc; ++i) command += i == 0 ? "redline" : " " + shell_word(argv[i]);
  return command;
}

Result<lab::AxisOverrides> read_axes(const std::vector<std::string>& extras) {
  lab::AxisOverrides axes;
  for (std::size_t i = 0; i < extras.size(); ++i) {
    std::string name = extras[i], value;
    if (!name.starts_with("--"))
      return Error{.kind = ErrorKind::usage, .what = "unexpected argument", .expected = "--AXIS VALUES", .found = name};
    name = name.substr(2);
    if (const auto equals = name.find('='); equals != name.npos) {
      value = name.substr(equals + 1);
      name.resize(equals);
    } else if (++i < extras.size()) {
      value = extras[i];
    }
    RL_ASSIGN(axes[name], lab::parse_values(value));
  }
  return axes;
}

Result<int> cmd_run(const RunOptions& given, std::FILE* out,
                    const std::function<Result<OpenBackend>(const DeviceOptions&)>& open_device) {
  RunOptions options = given;
  std::optional<record::Run> before, baseline;
  if (options.resume) {
    RL_ASSIGN(before, interrupted_run(options));
    RL_TRY(adopt(*before, options));
  }
  RL_TRY(check_baseline_name(options.save_baseline));
  if (!options.baseline.empty()) {  // now: "last" is the newest before this run
    std::vector<std::string> damage;
    RL_ASSIGN(baseline, read_checked_run(options.baseline, options.runs_folder, damage));
    for (const std::string& what : damage)
      say("redline: the baseline '{}' is damaged, nothing was measured: {}\n", options.baseline, what);
    if (!damage.empty()) return kExitInvalid;
  }
  RL_ASSIGN(const auto entries, chosen_entries(options));
  RL_TRY(check_axes(entries, options.axes));
  RL_ASSIGN(const OpenBackend open, open_device(options.device));
  RL_ASSIGN(const model::ModelSource source, open_model(options.model));

  CountingResource memory(open.device->memory());
  const bool full = options.full || (!options.quick && open.backend.device->info().arch.family == Arch::Family::cuda);
  lab::Context context{.backend = open.backend,
                       .oracle = oracle(),
                       .memory = memory,
                       .model = source,
                       .mode = full ? lab::Mode::full : lab::Mode::quick,
                       .seed = options.seed,
                       .limits = limits_of(options),
                       .cpu_time = telemetry::read_cpu_time};
  std::optional<model::ModelSource> trained;  // for quality, which drawn weights have none of
  if (source.synthetic) {
    RL_ASSIGN(trained, open_model("demo"));
    context.trained = &*trained;
  }
  RL_TRY(check_values(entries, options.axes, context));
  if (options.list || options.dry_run) {
    RL_TRY(print_list(entries, context, options, out));
    return kExitOk;
  }

  record::Run run = new_run(options, source, entries, full);
  if (const DeviceInfo& device = open.device->info(); device.arch.family == Arch::Family::cuda) {
    run.environment.gpu = device.name;
    run.environment.cuda = fmt::format("compute capability {}.{}", device.arch.version / 10, device.arch.version % 10);
  }
  if (before) {
    RL_TRY(can_resume(*before, run));
    run = *std::move(before);
  }
  RL_ASSIGN(RunSession session, options.resume ? RunSession::resume(options, run) : RunSession::begin(options, run));
  std::optional<Interruptible> interruptible(
      std::in_place, fmt::format("\nredline: interrupted; the experiments that were finished are kept\nhint: {}\n",
                                 way_to_go_on(options, run.id)));
  if (options.resume) {
    // Read again under the lock: whoever held it may have gone on.
    RL_ASSIGN(run, session.store().load(run.id));
    if (!run.finished.empty() && record::check_sums(session.folder()).empty())
      return Error{.kind = ErrorKind::invalid_input,
                   .what = fmt::format("run {} is finished: there is nothing to resume", run.id),
                   .rule = "run.finished",
                   .hint = "make a new one with 'redline run'"};
  }
  if (run.finished.empty()) {  // else only its files were missing
    if (options.resume)
      run.validity.warnings.push_back(
          fmt::format("interrupted, and resumed at {} after {} experiments: these and the others were not measured in "
                      "one go",
                      utc_timestamp(), run.experiments.size()));
    RL_TRY(measure_all(entries, options, context, session, run));
    finish(run);
    RL_TRY(session.store().finish(run));
  }
  RL_TRY(report::write_all(run, session.folder()));
  const auto lost = open.device->lost();
  if (!lost && !options.save_baseline.empty()) {
    RL_TRY(session.store().save_baseline(options.save_baseline, run.id, utc_timestamp()));
    say("redline: {} is now the baseline '{}'\n", run.id, options.save_baseline);
  }
  interruptible.reset();  // all is written: who reads the report may go away

  const report::TerminalOptions terminal = {
      .width = options.width, .color = options.color, .folder = session.folder().string()};
  fmt::print(out, "{}", options.json ? record::to_json(run) + "\n" : report::terminal(run, terminal));
  if (lost) {
    say("redline: the run ended early, with what it had: {} ({})\nhint: {}\n", lost->what, lost->found, lost->hint);
    return exit_code(ErrorKind::device);
  }
  if (baseline) {
    RL_ASSIGN(const record::RunComparison comparison, lab::compare_runs(*baseline, run, {}));
    fmt::print(options.json ? stderr : out, "\n{}", report::comparison_terminal(comparison, {}));
    return exit_code(record::judgement_of(comparison));
  }
  return run.validity.valid ? kExitOk : kExitInvalid;
}

}  // namespace rl::app
