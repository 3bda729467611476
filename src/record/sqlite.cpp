#include "record/sqlite.h"

#include <sqlite3.h>

namespace rl::record {
namespace {

constexpr int kBusyMilliseconds = 10'000;

const char* hint_for(int code) {
  switch (code & 0xff) {
    case SQLITE_BUSY:
      return "another Redline is writing to it: try again when that is done";
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
      return "move the file away: every run's record.json is complete without it";
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
      return "is the folder writable?";
    default:
      return "";
  }
}

}  // namespace

void Database::Close::operator()(sqlite3* db) const { sqlite3_close_v2(db); }
void Statement::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

Result<Database> Database::open(const std::string& file) {
  Database database;
  database.file_ = file;
  sqlite3* db = nullptr;
  const int code =
      sqlite3_open_v2(file.c_str(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOFOLLOW, nullptr);
  database.db_.reset(db);  // also of a failed open
  if (code != SQLITE_OK) return database.error("cannot open the store of runs");
  sqlite3_extended_result_codes(db, 1);
  sqlite3_busy_timeout(db, kBusyMilliseconds);
  return database;
}

Status Database::execute(const char* sql) const {
  if (sqlite3_exec(db_.get(), sql, nullptr, nullptr, nullptr) != SQLITE_OK)
    return error("cannot use the store of runs");
  return ok();
}

Error Database::error(std::string what) const {
  const int code = db_ ? sqlite3_extended_errcode(db_.get()) : SQLITE_NOMEM;
  return {.kind = (code & 0xff) == SQLITE_BUSY ? ErrorKind::timeout : ErrorKind::io,
          .what = std::move(what),
          .rule = "store.sqlite",
          .file = file_,
          .found = db_ ? sqlite3_errmsg(db_.get()) : "out of memory",
          .hint = hint_for(code),
          .native_code = code};
}

Statement::Statement(const Database& database, const char* sql) : database_(database) {
  sqlite3_stmt* statement = nullptr;
  failed_ = sqlite3_prepare_v2(database.db_.get(), sql, -1, &statement, nullptr) != SQLITE_OK;
  statement_.reset(statement);
}

Statement& Statement::bind(std::string_view text) {
  failed_ = failed_ || sqlite3_bind_text64(statement_.get(), ++bound_, text.data(), text.size(), SQLITE_STATIC,
                                           SQLITE_UTF8) != SQLITE_OK;
  return *this;
}

Statement& Statement::bind(std::int64_t number) {
  failed_ = failed_ || sqlite3_bind_int64(statement_.get(), ++bound_, number) != SQLITE_OK;
  return *this;
}

Result<bool> Statement::step() {
  const int code = failed_ ? SQLITE_ERROR : sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return database_.error("cannot use the store of runs");
}

Status Statement::run() {
  for (;;) {
    RL_ASSIGN(const bool row, step());
    if (!row) return ok();
  }
}

std::string Statement::text(int column) const {
  const auto* data = reinterpret_cast<const char*>(sqlite3_column_text(statement_.get(), column));
  return data ? std::string(data, static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))) : "";
}

std::int64_t Statement::number(int column) const { return sqlite3_column_int64(statement_.get(), column); }

Result<Transaction> Transaction::begin(const Database& database) {
  RL_TRY(database.execute("BEGIN IMMEDIATE"));
  return Transaction(database);
}

Transaction::~Transaction() {
  // What went wrong was reported by the call that failed.
  if (database_) static_cast<void>(database_->execute("ROLLBACK").has_value());
}

Status Transaction::commit() {
  RL_TRY(database_->execute("COMMIT"));
  database_ = nullptr;
  return ok();
}

}  // namespace rl::record
