#include "app/cmd_run.h"

#include <filesystem>

#include <unistd.h>

#include "app/exit_code.h"
#include "app/open_model.h"
#include "base/clock.h"
#include "experiments/list.h"
#include "lab/runner.h"
#include "record/json.h"
#include "record/store.h"
#include "report/report.h"
#include "telemetry/host.h"

namespace rl::app {
namespace {

namespace fs = std::filesystem;

// "attention   12 s of about 25 s   seq 1024, causal no (6 of 8)": one line, rewritten on a terminal.
class ProgressLine {
 public:
  explicit ProgressLine(const lab::Info& info, bool full)
      : name_(info.id),
        expected_(full ? info.expected_full : info.expected_quick),
        start_(monotonic_now()),
        tty_(::isatty(STDERR_FILENO) == 1) {
    show("");
  }
  void show(const std::string& what) {
    const std::string line = fmt::format("{:<14} {:>4.0f} s of about {:.0f} s   {}", name_,
                                         (monotonic_now() - start_).count, expected_.count, what);
    if (tty_) fmt::print(stderr, "\r\033[K{}", line.substr(0, 79));
  }
  void finish(const record::Experiment& record) {
    const std::string line =
        fmt::format("{:<14} {:>4.0f} s   {}{}", name_, (monotonic_now() - start_).count, name_of(record.state),
                    record.reasons.empty() ? "" : ": " + record.reasons.front());
    fmt::print(stderr, "{}{}\n", tty_ ? "\r\033[K" : "", line);
  }

 private:
  std::string name_;
  Seconds expected_, start_;
  bool tty_;
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

Status print_list(const std::vector<const lab::Entry*>& entries, const lab::Context& context, bool dry_run,
                  std::FILE* out) {
  for (const lab::Entry* entry : entries) {
    fmt::print(out, "{:<14} {:<13} {}\n", entry->info.id, entry->make ? "plan " + entry->info.plan : "not built yet",
               entry->info.question);
    if (!dry_run || !entry->make) continue;
    const auto experiment = entry->make();
    RL_ASSIGN(const std::vector<lab::Point> points, lab::points_of(*experiment, context));
    for (const lab::Point& point : points) fmt::print(out, "{:<14}   {}\n", "", point.label());
  }
  return ok();
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

// A folder that no other run uses: the time, and a number if two runs begin in one second.
Result<fs::path> make_folder(const RunOptions& options, std::string& id) {
  std::error_code code;
  fs::path folder = options.out.empty() ? fs::path(options.runs_folder) / id : fs::path(options.out);
  for (int n = 2; options.out.empty() && fs::exists(folder); ++n)
    folder = fs::path(options.runs_folder) / fmt::format("{}-{}", id, n);
  fs::create_directories(folder, code);
  if (code)
    return Error{.kind = ErrorKind::io,
                 .what = "cannot make the run's folder",
                 .file = folder.string(),
                 .found = code.message(),
                 .hint = "choose another place with --out"};
  if (options.out.empty()) id = folder.filename().string();
  return folder;
}

}  // namespace

Result<int> cmd_run(const RunOptions& options, std::FILE* out) {
  RL_ASSIGN(const auto entries, chosen_entries(options));
  RL_ASSIGN(const OpenBackend open, open_backend(options.device));
  RL_ASSIGN(const model::ModelSource source, open_model(options.model));

  CountingResource memory(open.device->memory());
  const bool full = options.full || (!options.quick && open.backend.device->info().arch.family == Arch::Family::cuda);
  lab::Context context{.backend = open.backend,
                       .oracle = oracle(),
                       .memory = memory,
                       .model = source,
                       .mode = full ? lab::Mode::full : lab::Mode::quick,
                       .seed = options.seed,
                       .limits = options.limits,
                       .axes = options.axes};
  if (options.list || options.dry_run) {
    RL_TRY(print_list(entries, context, options.dry_run, out));
    return kExitOk;
  }

  record::Run run;
  run.command = telemetry::scrub(options.command);
  run.mode = !options.axes.empty() ? "custom" : full ? "full" : "quick";
  run.started = utc_timestamp();
  run.id = run.started.substr(0, 4) + run.started.substr(5, 2) + run.started.substr(8, 2) + "-" +
           run.started.substr(11, 2) + run.started.substr(14, 2) + run.started.substr(17, 2) + "-" + run.mode;
  run.seed = options.seed;
  run.environment = telemetry::capture_environment();
  run.environment.backends = backend_names();
  run.model = model_info(source);
  RL_ASSIGN(const fs::path folder, make_folder(options, run.id));
  RL_ASSIGN(record::Store store, record::Store::open(options.out.empty() ? fs::path(options.runs_folder) : folder));
  RL_TRY(store.begin(run));

  const Seconds start = monotonic_now();
  for (const lab::Entry* entry : entries) {
    if (!entry->make) {
      RL_ASSIGN(record::Experiment unbuilt, lab::run_experiment(*entry, context));
      run.experiments.push_back(std::move(unbuilt));
    } else {
      ProgressLine line(entry->info, full);
      context.progress = [&](const std::string& what, int done, int all) {
        line.show(fmt::format("{} ({} of {})", what, done + 1, all));
      };
      RL_ASSIGN(record::Experiment done, lab::run_experiment(*entry, context));
      line.finish(done);
      run.experiments.push_back(std::move(done));
    }
    RL_TRY(store.append(run, run.experiments.back()));
  }
  run.elapsed_seconds = (monotonic_now() - start).count;
  run.finished = utc_timestamp();
  run.environment.load_after = telemetry::load_average();
  bool invalid = false;
  for (const record::Experiment& experiment : run.experiments) {
    using record::State;
    if (experiment.state != State::failed && experiment.state != State::invalid) continue;
    invalid = true;
    run.validity.valid = false;
    run.validity.reasons.push_back(fmt::format(
        "{}: {}", experiment.id, experiment.reasons.empty() ? name_of(experiment.state) : experiment.reasons.front()));
  }
  if (run.environment.load_before > 0.5 * run.environment.cores)
    run.validity.warnings.push_back(
        fmt::format("the machine was busy when the run began (load {:.1f} on {} cores): expect wide intervals",
                    run.environment.load_before, run.environment.cores));
  RL_TRY(store.finish(run));
  RL_TRY(report::write_all(run, folder));
  fmt::print(out, "{}",
             options.json ? record::to_json(run) + "\n"
                          : report::terminal(run, {.color = options.color, .folder = folder.string()}));
  return invalid ? kExitInvalid : kExitOk;
}

}  // namespace rl::app
