#include "app/run_session.h"

#include <charconv>

#include "app/find_run.h"
#include "base/clock.h"

namespace rl::app {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLockFile = "run.lock";

std::string joined(const std::vector<std::string>& values) {
  std::string text;
  for (const std::string& value : values) text += (text.empty() ? "" : ",") + value;
  return text;
}

fs::path store_folder(const RunOptions& options) { return options.out.empty() ? options.runs_folder : options.out; }

const std::string* setting(const record::Run& run, std::string_view name) {
  for (const auto& [key, value] : run.settings)
    if (key == name) return &value;
  return nullptr;
}

// "seed: 1 then, 2 now"
void compare(std::vector<std::string>& differences, std::string_view name, const std::string& before,
             const std::string& now) {
  if (before != now) differences.push_back(fmt::format("{}: '{}' then, '{}' now", name, before, now));
}

}  // namespace

std::vector<std::pair<std::string, std::string>> settings_of(const RunOptions& options,
                                                             const std::vector<std::string>& experiments, bool full) {
  const lab::Limits limits = limits_of(options);
  std::vector<std::pair<std::string, std::string>> settings = {
      {"experiments", joined(experiments)},
      {"mode", full ? "full" : "quick"},
      {"device", options.device.device},
      {"threads", std::to_string(options.device.threads)},
      {"isa", options.device.isa},
      {"tune-variants", options.device.tune_variants},
      {"max-kld", fmt::format("{}", limits.max_kld)},
      {"max-ppl-loss", fmt::format("{}", limits.max_ppl_loss)},
      {"max-foreign-load", fmt::format("{}", limits.max_foreign_load)}};
  for (const auto& [axis, values] : options.axes) settings.emplace_back("--" + axis, joined(values));
  return settings;
}

lab::Limits limits_of(const RunOptions& options) {
  const lab::Limits own;
  return {.max_kld = options.max_kld.value_or(own.max_kld),
          .max_ppl_loss = options.max_ppl_loss.value_or(own.max_ppl_loss),
          .max_foreign_load = options.max_foreign_load.value_or(own.max_foreign_load)};
}

Result<record::Run> interrupted_run(const RunOptions& options) {
  const fs::path folder = store_folder(options);
  const std::string name = options.resume.value_or("").empty() ? "last" : *options.resume;
  RL_ASSIGN(const RunPlace place, locate_run(name, folder.string()));
  RL_ASSIGN(const record::Store store, record::Store::open(folder));
  return store.load(place.id.empty() ? name : place.id);
}

Status adopt(const record::Run& interrupted, RunOptions& options) {
  if (!options.seed_given) options.seed = interrupted.seed;
  // The name of a folder does not say where it lies: that has to be given again.
  if (options.model.empty() && interrupted.model.name.starts_with("synthetic:")) options.model = interrupted.model.name;
  const auto text = [&](const char* name) {
    const std::string* value = setting(interrupted, name);
    return value ? *value : std::string();
  };
  if (options.only.empty()) {
    const std::string ids = text("experiments");
    for (std::size_t start = 0; start < ids.size();) {
      const std::size_t end = std::min(ids.find(',', start), ids.size());
      options.only.push_back(ids.substr(start, end - start));
      start = end + 1;
    }
  }
  if (!options.quick && !options.full) (text("mode") == "full" ? options.full : options.quick) = true;
  const DeviceOptions none;
  if (options.device.device == none.device) options.device.device = text("device");
  if (options.device.isa.empty()) options.device.isa = text("isa");
  if (const std::string when = text("tune-variants");
      options.device.tune_variants == none.tune_variants && !when.empty())
    options.device.tune_variants = when;
  if (const std::string threads = text("threads"); options.device.threads == 0)
    std::from_chars(threads.data(), threads.data() + threads.size(), options.device.threads);
  const auto take = [&](std::optional<double>& given, const char* name) {
    const std::string value = text(name);
    double number = 0;
    if (!given && std::from_chars(value.data(), value.data() + value.size(), number).ec == std::errc()) given = number;
  };
  take(options.max_kld, "max-kld");
  take(options.max_ppl_loss, "max-ppl-loss");
  take(options.max_foreign_load, "max-foreign-load");
  if (!options.axes.empty()) return ok();
  for (const auto& [name, value] : interrupted.settings) {
    if (!name.starts_with("--")) continue;
    RL_ASSIGN(options.axes[name.substr(2)], lab::parse_values(value));
  }
  return ok();
}

Status can_resume(const record::Run& before, const record::Run& now) {
  std::vector<std::string> differences;
  const record::Environment &then = before.environment, &today = now.environment;
  compare(differences, "commit", then.version + " " + then.commit, today.version + " " + today.commit);
  compare(differences, "build", then.build, today.build);
  compare(differences, "machine", fmt::format("{} {}, {} cores, {}", then.gpu, then.cpu, then.cores, then.isa),
          fmt::format("{} {}, {} cores, {}", today.gpu, today.cpu, today.cores, today.isa));
  compare(differences, "model", before.model.name + " " + before.model.fingerprint,
          now.model.name + " " + now.model.fingerprint);
  compare(differences, "tokenizer", before.model.tokenizer_fingerprint, now.model.tokenizer_fingerprint);
  compare(differences, "precision", before.model.computed_as, now.model.computed_as);
  compare(differences, "seed", std::to_string(before.seed), std::to_string(now.seed));
  const auto value_in = [](const record::Run& run, const std::string& name) {
    const std::string* value = setting(run, name);
    return value ? *value : std::string("(not given)");
  };
  for (const auto& [name, value] : before.settings) compare(differences, name, value, value_in(now, name));
  for (const auto& [name, value] : now.settings)
    if (setting(before, name) == nullptr) compare(differences, name, "(not given)", value);
  if (differences.empty()) return ok();
  std::string all;
  for (const std::string& difference : differences) all += (all.empty() ? "" : "; ") + difference;
  return Error{
      .kind = ErrorKind::invalid_input,
      .what = fmt::format("run {} cannot go on here: its other half would not be of the same thing", before.id),
      .rule = "run.resume",
      .expected = "the same commit, machine, model, seed and settings",
      .found = all,
      .hint = "make a new run, or give the flags the run was made with"};
}

Status RunSession::open(const RunOptions& options) {
  std::error_code code;
  fs::create_directories(folder_, code);
  if (code)
    return Error{.kind = ErrorKind::io,
                 .what = "cannot make the run's folder",
                 .file = folder_.string(),
                 .found = code.message(),
                 .hint = "choose another place with --out"};
  RL_TRY(lock());
  RL_ASSIGN(store_, record::Store::open(store_folder(options)));
  return ok();
}

Status RunSession::lock() {
  Result<FileLock> lock = FileLock::take(folder_ / kLockFile);
  if (!lock) {
    Error error = lock.error();
    const bool held = error.kind == ErrorKind::cancelled;
    error.what = held ? "another process works on this run" : "cannot lock the run's folder";
    if (held) {
      error.rule = "run.locked";
      error.hint = "wait until it is done";
    }
    return error;
  }
  lock_.emplace(std::move(*lock));
  return ok();
}

Result<RunSession> RunSession::begin(const RunOptions& options, record::Run& run) {
  RunSession session;
  std::error_code ignored;
  session.folder_ = options.out.empty() ? fs::path(options.runs_folder) / run.id : fs::path(options.out);
  // Two runs may begin in one second.
  for (int n = 2; options.out.empty() && fs::exists(session.folder_, ignored); ++n)
    session.folder_ = fs::path(options.runs_folder) / fmt::format("{}-{}", run.id, n);
  if (options.out.empty()) run.id = session.folder_.filename().string();
  RL_TRY(session.open(options));
  RL_TRY(session.store().begin(run));
  return session;
}

Result<RunSession> RunSession::resume(const RunOptions& options, const record::Run& run) {
  RunSession session;
  session.folder_ = options.out.empty() ? fs::path(options.runs_folder) / run.id : fs::path(options.out);
  RL_TRY(session.open(options));
  return session;
}

}  // namespace rl::app
