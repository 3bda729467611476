#include "record/store.h"

#include "base/sha256.h"
#include "record/json.h"
#include "record/sqlite.h"

namespace rl::record {
namespace {

constexpr int kDatabaseVersion = 2;         // PRAGMA user_version
constexpr int kApplicationId = 0x52444c4e;  // "RDLN": tells our file from another program's

constexpr const char* kTables = R"sql(
CREATE TABLE runs (
  id TEXT PRIMARY KEY, started TEXT NOT NULL, mode TEXT NOT NULL, model TEXT NOT NULL, device TEXT NOT NULL,
  finished INTEGER NOT NULL, header TEXT NOT NULL, digest TEXT NOT NULL DEFAULT '') STRICT;
CREATE TABLE experiments (
  run TEXT NOT NULL REFERENCES runs(id), position INTEGER NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL,
  digest TEXT NOT NULL DEFAULT '', PRIMARY KEY (run, id)) STRICT;
)sql";
constexpr const char* kBaselines = R"sql(
CREATE TABLE baselines (name TEXT PRIMARY KEY, run TEXT NOT NULL REFERENCES runs(id), saved TEXT NOT NULL,
  digest TEXT NOT NULL) STRICT;
)sql";
// Version 1 kept no digests.
constexpr const char* kFromVersion1 = R"sql(
ALTER TABLE runs ADD COLUMN digest TEXT NOT NULL DEFAULT '';
ALTER TABLE experiments ADD COLUMN digest TEXT NOT NULL DEFAULT '';
)sql";

Result<std::int64_t> number_of(const Database& database, const char* sql) {
  Statement statement(database, sql);
  RL_ASSIGN(const bool row, statement.step());
  return row ? statement.number(0) : 0;
}

// Each text with its length before it: no two rows have the same bytes.
void add(Sha256& hash, const std::string& text) {
  hash.add(static_cast<std::int64_t>(text.size())).add(std::string_view(text));
}

// Of a row with these columns: run, position, id, body.
std::string experiment_digest(const Statement& row) {
  Sha256 hash;
  add(hash, row.text(0));
  hash.add(row.number(1));
  add(hash, row.text(2));
  add(hash, row.text(3));
  return hash.hex();
}

constexpr const char* kExperimentRows =
    "SELECT run, position, id, body, digest FROM experiments WHERE run = ? ORDER BY position, id";

// Of a run's row and of its experiments' digests in order: one that is lost, doubled or moved shows here.
Result<std::string> run_digest(const Database& database, const std::string& id) {
  Statement row(database, "SELECT id, started, mode, model, device, header, finished FROM runs WHERE id = ?");
  row.bind(id);
  RL_ASSIGN(const bool known, row.step());
  if (!known) return std::string();
  Sha256 hash;
  for (int column = 0; column < 6; ++column) add(hash, row.text(column));
  hash.add(row.number(6));
  Statement experiments(database, kExperimentRows);
  experiments.bind(id);
  for (;;) {
    RL_ASSIGN(const bool more, experiments.step());
    if (!more) return hash.hex();
    add(hash, experiments.text(4));
  }
}

Status seal_experiment(const Database& database, const std::string& run, const std::string& id) {
  std::string digest;
  {
    Statement row(database, "SELECT run, position, id, body FROM experiments WHERE run = ? AND id = ?");
    row.bind(run).bind(id);
    RL_ASSIGN(const bool there, row.step());
    if (there) digest = experiment_digest(row);
  }
  Statement update(database, "UPDATE experiments SET digest = ? WHERE run = ? AND id = ?");
  return update.bind(digest).bind(run).bind(id).run();
}

Status seal_run(const Database& database, const std::string& id) {
  RL_ASSIGN(const std::string digest, run_digest(database, id));
  Statement update(database, "UPDATE runs SET digest = ? WHERE id = ?");
  return update.bind(digest).bind(id).run();
}

Result<std::vector<std::string>> texts_of(const Database& database, const char* sql,
                                          std::optional<std::string_view> bound = std::nullopt) {
  Statement rows(database, sql);
  if (bound) rows.bind(*bound);
  std::vector<std::string> texts;
  for (;;) {
    RL_ASSIGN(const bool row, rows.step());
    if (!row) return texts;
    texts.push_back(rows.text(0));
  }
}

Status seal_everything(const Database& database) {
  RL_ASSIGN(const std::vector<std::string> runs, texts_of(database, "SELECT id FROM runs"));
  for (const std::string& run : runs) {
    RL_ASSIGN(const std::vector<std::string> ids, texts_of(database, "SELECT id FROM experiments WHERE run = ?", run));
    for (const std::string& id : ids) RL_TRY(seal_experiment(database, run, id));
    RL_TRY(seal_run(database, run));
  }
  return ok();
}

std::string baseline_digest(const std::string& name, const std::string& run, const std::string& saved) {
  Sha256 hash;
  for (const std::string* text : {&name, &run, &saved}) add(hash, *text);
  return hash.hex();
}

Status set_up(const Database& database) {
  // DELETE and not WAL: SQLite before 3.51.3 can corrupt a WAL database when it resets the log, and Debian 12 has
  // 3.40.1. FULL: a commit is on the disk before it is acknowledged.
  RL_TRY(
      database.execute("PRAGMA journal_mode=DELETE; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; "
                       "PRAGMA trusted_schema=OFF"));
  RL_ASSIGN(Transaction transaction, Transaction::begin(database));
  RL_ASSIGN(const std::int64_t application, number_of(database, "PRAGMA application_id"));
  RL_ASSIGN(const std::int64_t version, number_of(database, "PRAGMA user_version"));
  RL_ASSIGN(const std::int64_t tables, number_of(database, "SELECT count(*) FROM sqlite_schema"));
  if (application != kApplicationId && (application != 0 || version != 0 || tables != 0))
    return Error{.kind = ErrorKind::unsupported,
                 .what = "the file is a database of another program",
                 .rule = "store.application",
                 .file = database.file(),
                 .hint = "move it away or choose another folder"};
  if (version > kDatabaseVersion)
    return Error{.kind = ErrorKind::unsupported,
                 .what = "the store of runs was written by a newer Redline",
                 .rule = "store.version",
                 .file = database.file(),
                 .expected = fmt::format("at most {}", kDatabaseVersion),
                 .found = fmt::format("{}", version),
                 .hint = "use that Redline, or choose another folder with --out"};
  if (version == kDatabaseVersion) return ok();
  RL_TRY(database.execute(version == 1 ? kFromVersion1 : kTables));
  RL_TRY(database.execute(kBaselines));
  if (version == 1) RL_TRY(seal_everything(database));
  RL_TRY(database.execute(
      fmt::format("PRAGMA application_id={}; PRAGMA user_version={}", kApplicationId, kDatabaseVersion).c_str()));
  return transaction.commit();
}

Error no_such_run(const Database& database, const std::string& id) {
  return {.kind = ErrorKind::invalid_input,
          .what = fmt::format("there is no run '{}'", id),
          .rule = "store.no_run",
          .file = database.file(),
          .hint = "redline history lists the runs"};
}

std::string header_of(const Run& run) {
  Run header = run;
  header.experiments.clear();
  return to_json(header);
}

Status update_header(const Database& database, const Run& run, bool finished) {
  const std::string header = header_of(run);
  Statement statement(database, "UPDATE runs SET header = ?, finished = ? WHERE id = ? RETURNING id");
  statement.bind(header).bind(finished ? 1 : 0).bind(run.id);
  RL_ASSIGN(const bool known, statement.step());
  if (!known) return no_such_run(database, run.id);
  return statement.run();
}

}  // namespace

struct Store::Impl {
  Database database;
};

Store::Store(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Store::Store(Store&&) noexcept = default;
Store& Store::operator=(Store&&) noexcept = default;
Store::~Store() = default;

Result<Store> Store::open(const std::filesystem::path& folder) {
  std::error_code code;
  std::filesystem::create_directories(folder, code);
  if (code)
    return Error{.kind = ErrorKind::io,
                 .what = "cannot create the folder of runs",
                 .file = folder.string(),
                 .found = code.message(),
                 .native_code = code.value()};
  RL_ASSIGN(Database database, Database::open((std::filesystem::canonical(folder, code) / "redline.db").string()));
  RL_TRY(set_up(database));
  return Store(std::make_unique<Impl>(Impl{std::move(database)}));
}

Status Store::begin(const Run& run) {
  const Database& database = impl_->database;
  const std::string header = header_of(run);
  RL_ASSIGN(Transaction transaction, Transaction::begin(database));
  {
    Statement known(database, "SELECT 1 FROM runs WHERE id = ?");
    known.bind(run.id);
    RL_ASSIGN(const bool row, known.step());
    if (row)
      return Error{.kind = ErrorKind::invalid_input,
                   .what = fmt::format("there is a run '{}' already", run.id),
                   .rule = "store.run_exists",
                   .file = database.file()};
  }
  Statement insert(database, "INSERT INTO runs VALUES (?, ?, ?, ?, ?, 0, ?, '')");
  insert.bind(run.id).bind(run.started).bind(run.mode).bind(run.model.name);
  insert.bind(run.environment.gpu.empty() ? run.environment.cpu : run.environment.gpu).bind(header);
  RL_TRY(insert.run());
  RL_TRY(seal_run(database, run.id));
  return transaction.commit();
}

Status Store::append(const Run& run, const Experiment& experiment) {
  const Database& database = impl_->database;
  const std::string body = to_json(experiment);
  RL_ASSIGN(Transaction transaction, Transaction::begin(database));
  RL_TRY(update_header(database, run, false));
  {
    // An experiment that ran again takes its old place.
    Statement insert(
        database,
        "INSERT INTO experiments SELECT ?, (SELECT count(*) FROM experiments WHERE run = ?), ?, ?, '' WHERE true "
        "ON CONFLICT (run, id) DO UPDATE SET body = excluded.body");
    insert.bind(run.id).bind(run.id).bind(experiment.id).bind(body);
    RL_TRY(insert.run());
  }
  RL_TRY(seal_experiment(database, run.id, experiment.id));
  RL_TRY(seal_run(database, run.id));
  return transaction.commit();
}

Status Store::finish(const Run& run) {
  RL_ASSIGN(Transaction transaction, Transaction::begin(impl_->database));
  RL_TRY(update_header(impl_->database, run, true));
  RL_TRY(seal_run(impl_->database, run.id));
  return transaction.commit();
}

Result<Run> Store::load(const std::string& id) const {
  const Database& database = impl_->database;
  Statement header(database, "SELECT header FROM runs WHERE id = ?");
  header.bind(id);
  RL_ASSIGN(const bool known, header.step());
  if (!known) return no_such_run(database, id);
  RL_ASSIGN(const std::vector<Finding> findings, check(id));
  if (!findings.empty())
    return Error{.kind = ErrorKind::invalid_input,
                 .what = fmt::format("{} {}", findings[0].where, findings[0].what),
                 .rule = "store.digest",
                 .file = database.file(),
                 .hint = "the run's record.json, if it is there, is complete without the store"};
  RL_ASSIGN(Run run, from_json(header.text(0), fmt::format("{}, run {}", database.file(), id)));
  Statement bodies(database, "SELECT id, body FROM experiments WHERE run = ? ORDER BY position");
  bodies.bind(id);
  for (;;) {
    RL_ASSIGN(const bool row, bodies.step());
    if (!row) return run;
    const std::string place = fmt::format("{}, run {}, experiment {}", database.file(), id, bodies.text(0));
    RL_ASSIGN(Experiment experiment, experiment_from_json(bodies.text(1), place));
    run.experiments.push_back(std::move(experiment));
  }
}

Result<std::vector<Store::Entry>> Store::list() const {
  Statement rows(
      impl_->database,
      "SELECT id, started, mode, model, device, (SELECT count(*) FROM experiments WHERE run = runs.id), finished "
      "FROM runs ORDER BY started DESC, runs.rowid DESC");
  std::vector<Entry> entries;
  for (;;) {
    RL_ASSIGN(const bool row, rows.step());
    if (!row) return entries;
    entries.push_back({.id = rows.text(0),
                       .started = rows.text(1),
                       .mode = rows.text(2),
                       .model = rows.text(3),
                       .device = rows.text(4),
                       .experiments = static_cast<int>(rows.number(5)),
                       .finished = rows.number(6) != 0});
  }
}

Result<std::vector<Finding>> Store::check(const std::string& id) const {
  const Database& database = impl_->database;
  std::vector<Finding> findings;
  Statement row(database, "SELECT digest FROM runs WHERE id = ?");
  row.bind(id);
  RL_ASSIGN(const bool known, row.step());
  if (!known) return no_such_run(database, id);
  RL_ASSIGN(const std::string digest, run_digest(database, id));
  if (digest != row.text(0))
    findings.push_back({fmt::format("store, run {}", id),
                        "does not have its digest: a byte of its row was changed, or "
                        "an experiment was added, removed or moved"});
  Statement rows(database, kExperimentRows);
  rows.bind(id);
  for (;;) {
    RL_ASSIGN(const bool more, rows.step());
    if (!more) return findings;
    if (experiment_digest(rows) != rows.text(4))
      findings.push_back({fmt::format("store, run {}, experiment {}", id, rows.text(2)),
                          "does not have its digest: a byte of its row was changed"});
  }
}

Result<std::vector<Finding>> Store::check() const {
  const Database& database = impl_->database;
  std::vector<Finding> findings;
  RL_ASSIGN(const std::vector<std::string> damage, texts_of(database, "PRAGMA integrity_check"));
  for (const std::string& line : damage)
    if (line != "ok") findings.push_back({"store", line});
  RL_ASSIGN(const std::vector<std::string> runs, texts_of(database, "SELECT id FROM runs ORDER BY started, rowid"));
  for (const std::string& run : runs) {
    RL_ASSIGN(const std::vector<Finding> of_run, check(run));
    findings.insert(findings.end(), of_run.begin(), of_run.end());
  }
  RL_ASSIGN(const std::vector<std::string> lost,
            texts_of(database,
                     "SELECT run || ', experiment ' || id FROM experiments WHERE run NOT IN (SELECT id FROM runs)"));
  for (const std::string& row : lost) findings.push_back({"store, run " + row, "is an experiment of no run"});
  Statement names(database, "SELECT name, run, saved, digest FROM baselines");
  for (;;) {
    RL_ASSIGN(const bool more, names.step());
    if (!more) return findings;
    if (baseline_digest(names.text(0), names.text(1), names.text(2)) != names.text(3))
      findings.push_back(
          {fmt::format("store, baseline {}", names.text(0)), "does not have its digest: its row was changed"});
  }
}

Status Store::save_baseline(const std::string& name, const std::string& run, const std::string& saved) {
  const Database& database = impl_->database;
  RL_ASSIGN(Transaction transaction, Transaction::begin(database));
  {
    Statement known(database, "SELECT 1 FROM runs WHERE id = ?");
    known.bind(run);
    RL_ASSIGN(const bool there, known.step());
    if (!there) return no_such_run(database, run);
  }
  const std::string digest = baseline_digest(name, run, saved);
  {
    Statement insert(database, "INSERT OR REPLACE INTO baselines VALUES (?, ?, ?, ?)");
    RL_TRY(insert.bind(name).bind(run).bind(saved).bind(digest).run());
  }
  return transaction.commit();
}

Result<bool> Store::drop_baseline(const std::string& name) {
  Statement row(impl_->database, "DELETE FROM baselines WHERE name = ? RETURNING name");
  row.bind(name);
  RL_ASSIGN(const bool known, row.step());
  RL_TRY(row.run());
  return known;
}

Result<std::vector<Store::Baseline>> Store::baselines() const {
  Statement rows(impl_->database, "SELECT name, run, saved FROM baselines ORDER BY name");
  std::vector<Baseline> all;
  for (;;) {
    RL_ASSIGN(const bool row, rows.step());
    if (!row) return all;
    all.push_back({rows.text(0), rows.text(1), rows.text(2)});
  }
}

}  // namespace rl::record
