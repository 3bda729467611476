#include "record/store.h"

#include "record/json.h"
#include "record/sqlite.h"

namespace rl::record {
namespace {

constexpr int kDatabaseVersion = 1;         // PRAGMA user_version
constexpr int kApplicationId = 0x52444c4e;  // "RDLN": tells our file from another program's

constexpr const char* kTables = R"sql(
CREATE TABLE runs (
  id TEXT PRIMARY KEY, started TEXT NOT NULL, mode TEXT NOT NULL, model TEXT NOT NULL, device TEXT NOT NULL,
  finished INTEGER NOT NULL, header TEXT NOT NULL) STRICT;
CREATE TABLE experiments (
  run TEXT NOT NULL REFERENCES runs(id), position INTEGER NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL,
  PRIMARY KEY (run, id)) STRICT;
)sql";

Result<std::int64_t> number_of(const Database& database, const char* sql) {
  Statement statement(database, sql);
  RL_ASSIGN(const bool row, statement.step());
  return row ? statement.number(0) : 0;
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
  RL_TRY(database.execute(kTables));
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
  Statement insert(database, "INSERT INTO runs VALUES (?, ?, ?, ?, ?, 0, ?)");
  insert.bind(run.id).bind(run.started).bind(run.mode).bind(run.model.name);
  insert.bind(run.environment.gpu.empty() ? run.environment.cpu : run.environment.gpu).bind(header);
  RL_TRY(insert.run());
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
        "INSERT INTO experiments SELECT ?, (SELECT count(*) FROM experiments WHERE run = ?), ?, ? WHERE true "
        "ON CONFLICT (run, id) DO UPDATE SET body = excluded.body");
    insert.bind(run.id).bind(run.id).bind(experiment.id).bind(body);
    RL_TRY(insert.run());
  }
  return transaction.commit();
}

Status Store::finish(const Run& run) {
  RL_ASSIGN(Transaction transaction, Transaction::begin(impl_->database));
  RL_TRY(update_header(impl_->database, run, true));
  return transaction.commit();
}

Result<Run> Store::load(const std::string& id) const {
  const Database& database = impl_->database;
  Statement header(database, "SELECT header FROM runs WHERE id = ?");
  header.bind(id);
  RL_ASSIGN(const bool known, header.step());
  if (!known) return no_such_run(database, id);
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

}  // namespace rl::record
